package broker

import (
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Right is an operation of Kafka's authorisation.
type Right kmsg.ACLOperation

// The rights that the engine needs.
const (
	Read            = Right(kmsg.ACLOperationRead)
	Write           = Right(kmsg.ACLOperationWrite)
	Create          = Right(kmsg.ACLOperationCreate)
	Delete          = Right(kmsg.ACLOperationDelete)
	Describe        = Right(kmsg.ACLOperationDescribe)
	IdempotentWrite = Right(kmsg.ACLOperationIdempotentWrite)
)

var rightNames = map[Right]string{Read: "Read", Write: "Write", Create: "Create", Delete: "Delete", Describe: "Describe", IdempotentWrite: "IdempotentWrite"}

func (r Right) String() string { return rightNames[r] }

// RightError is a missing right.
type RightError struct {
	Right    Right
	Resource string // "topic", "group", "transactional-id" or "cluster"
	Name     string
	Err      error // what the broker said
}

func (e *RightError) Error() string {
	flag := fmt.Sprintf("--%s %q", e.Resource, e.Name)
	if e.Resource == "cluster" {
		flag = "--cluster"
	}
	return fmt.Sprintf("the right %s on %s %q is missing: kafka-acls --add --allow-principal User:... --operation %s %s (%v)",
		e.Right, e.Resource, e.Name, e.Right, flag, e.Err)
}

func (e *RightError) Unwrap() error { return e.Err }

// lacking turns a refusal into the right that is missing; any other error is returned as it is.
func lacking(err error, right Right, resource, name string) error {
	var known *RightError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, kerr.ClusterAuthorizationFailed) && right == Write:
		return &RightError{IdempotentWrite, "cluster", "kafka-cluster", err}
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed),
		errors.Is(err, kerr.TransactionalIDAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return &RightError{right, resource, name, err}
	}
	return err
}

// lackingWithin is lacking of a call within a transaction: it may be the transaction's id that there is no right to.
func lackingWithin(transactionalID string, err error, right Right, resource, name string) error {
	if errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		return lacking(err, Write, "transactional-id", transactionalID)
	}
	return lacking(err, right, resource, name)
}

// Missing returns the rights on the topic that this client lacks, as errors. Brokers that do not tell are believed to
// grant all.
func (t Topic) Missing(needs ...Right) error {
	if t.rights == math.MinInt32 || t.rights == 0 {
		return nil
	}
	var faults []error
	for _, r := range needs {
		if t.rights&(1<<r) == 0 {
			faults = append(faults, &RightError{r, "topic", t.Name, kerr.TopicAuthorizationFailed})
		}
	}
	return errors.Join(faults...)
}
