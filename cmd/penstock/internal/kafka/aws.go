package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl/aws"
)

// awsCredentials are those of the environment: AWS_ACCESS_KEY_ID and its fellows, or the address that ECS and EKS Pod
// Identity give to their containers. The region is the broker's, else AWS_REGION.
func awsCredentials(ctx context.Context) (aws.Auth, error) {
	if key := os.Getenv("AWS_ACCESS_KEY_ID"); key != "" {
		return aws.Auth{AccessKey: key, SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"), UserAgent: "penstock"}, nil
	}
	if path := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		return containerCredentials(ctx, "http://169.254.170.2"+path)
	}
	if address := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"); address != "" {
		return containerCredentials(ctx, address)
	}
	return aws.Auth{}, errors.New("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run in a container with a role (AWS_CONTAINER_CREDENTIALS_FULL_URI)")
}

// containerAnswer bounds what a credentials address may say.
const containerAnswer = 64 << 10

func containerCredentials(ctx context.Context, address string) (aws.Auth, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) // #nosec G704 -- the platform names it
	if err != nil {
		return aws.Auth{}, fmt.Errorf("AWS credentials: %w", err)
	}
	token := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		raw, err := os.ReadFile(file) // #nosec G703 -- the platform names it
		if err != nil {
			return aws.Auth{}, fmt.Errorf("AWS credentials: %w", err)
		}
		token = strings.TrimSpace(string(raw))
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	resp, err := http.DefaultClient.Do(req) // #nosec G704 -- the platform names it
	if err != nil {
		return aws.Auth{}, fmt.Errorf("AWS credentials: %w", err)
	}
	defer resp.Body.Close()
	var found struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		Expiration      time.Time
	}
	if resp.StatusCode != http.StatusOK {
		return aws.Auth{}, fmt.Errorf("AWS credentials: %s answers %s", address, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, containerAnswer)).Decode(&found); err != nil {
		return aws.Auth{}, fmt.Errorf("AWS credentials: answer of %s: %w", address, err)
	}
	if found.AccessKeyID == "" || found.SecretAccessKey == "" {
		return aws.Auth{}, fmt.Errorf("AWS credentials: %s answers without a key", address)
	}
	return aws.Auth{AccessKey: found.AccessKeyID, SecretKey: found.SecretAccessKey, SessionToken: found.Token, UserAgent: "penstock"}, nil
}
