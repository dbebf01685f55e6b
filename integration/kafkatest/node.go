package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

const (
	// dockerTimeout bounds one command to a container.
	dockerTimeout = 60 * time.Second
	// pullTimeout bounds the download of an image that is not on the machine.
	pullTimeout = 10 * time.Minute
	// stopTimeout is how long a broker may take for its controlled shutdown.
	stopTimeout = 30 * time.Second
	// Label marks the containers of tests, so that those of a test that was killed can be found.
	Label = "penstock.test"

	brokerHeap = "-Xms256m -Xmx1g"
	loopback   = "127.0.0.1"
)

// node is one container that holds a broker.
type node struct {
	t      testing.TB
	docker *testcontainers.DockerClient
	id     string
	addr   string
	proxy  *Proxy // nil where none was asked for
}

// startNode creates and starts the container, or ends the test where there is none to be had.
func startNode(t testing.TB, o options) *node {
	t.Helper()
	// The reaper needs an image of its own, which not every machine can pull.
	if _, set := os.LookupEnv("TESTCONTAINERS_RYUK_DISABLED"); !set {
		os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
	image := os.Getenv("PENSTOCK_TEST_IMAGE")
	if image == "" {
		image = DefaultImage
	}
	if image == "none" {
		unavailable(t, "PENSTOCK_TEST_IMAGE=none asks for no container")
	}
	ctx, cancel := context.WithTimeout(context.Background(), pullTimeout)
	defer cancel()

	docker, err := connect(ctx)
	if err != nil {
		unavailable(t, fmt.Sprintf("no Docker answers: %v", err))
	}
	t.Cleanup(func() { docker.Close() })
	if err := ensureImage(ctx, docker, image); err != nil {
		unavailable(t, fmt.Sprintf("no image %s, and no pull of it: %v", image, err))
	}
	host, err := dockerHost(ctx, docker)
	if err != nil {
		t.Fatalf("find the host that Docker publishes ports on: %v", err)
	}
	port := FreePort(t)
	n := &node{t: t, docker: docker, addr: net.JoinHostPort(host, strconv.Itoa(port))}
	ports := network.PortMap{}
	publish(ports, host, port)
	env := environment(n.addr, port, o.properties)
	if o.proxied {
		behind := FreePort(t)
		publish(ports, host, behind)
		n.proxy = startProxy(t, net.JoinHostPort(host, strconv.Itoa(behind)))
		addListener(env, behind, n.proxy.Addr())
	}

	request := testcontainers.ContainerRequest{
		Image:  image,
		Env:    env,
		Labels: map[string]string{Label: "true"},
		HostConfigModifier: func(h *container.HostConfig) {
			h.PortBindings = ports
		},
		ExposedPorts: exposed(ports),
	}
	if o.node != nil {
		o.node.join(&request, n.addr, port)
	}
	created, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{Logger: silent{}, ContainerRequest: request})
	if created != nil {
		n.id = created.GetContainerID()
		t.Cleanup(n.remove)
	}
	if err != nil {
		t.Fatalf("create container of %s: %v", image, err)
	}
	n.do("start broker", n.start)
	return n
}

// unavailable ends a test that has no broker: in CI it fails, elsewhere it is skipped and says how to run it.
func unavailable(t testing.TB, why string) {
	t.Helper()
	message := "needs a Kafka broker: start Docker (an image: .ci/kafka-image.sh), or set PENSTOCK_TEST_BROKERS=host:port; " + why
	if os.Getenv("CI") == "true" {
		t.Fatal(message)
	}
	t.Skip(message)
}

// connect returns a client of a Docker daemon that answers.
func connect(ctx context.Context) (_ *testcontainers.DockerClient, err error) {
	// testcontainers panics where it finds no sign of a daemon.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := docker.Ping(ctx, client.PingOptions{}); err != nil {
		docker.Close()
		return nil, err
	}
	return docker, nil
}

// ensureImage pulls image, once, where it is not on the machine.
func ensureImage(ctx context.Context, docker *testcontainers.DockerClient, image string) error {
	if _, err := docker.ImageInspect(ctx, image); err == nil {
		return nil
	}
	pull, err := docker.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	defer pull.Close()
	return pull.Wait(ctx)
}

// dockerHost returns the address that published ports are reached by.
func dockerHost(ctx context.Context, docker *testcontainers.DockerClient) (string, error) {
	// A daemon that runs on this very host, whatever testcontainers takes the host for: its guess is made from the
	// daemon's networks, and is the way out of this host where a busy daemon does not tell them in time.
	if info, err := docker.Info(ctx, client.InfoOptions{}); err == nil {
		if name, err := os.Hostname(); err == nil && name == info.Info.Name {
			return loopback, nil
		}
	}
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(silent{}))
	if err != nil {
		return "", err
	}
	defer provider.Close()
	host, err := provider.DaemonHost(ctx)
	if err != nil {
		return "", err
	}
	// An address of this very machine is the loopback: nobody else reaches the broker, and one address family is tried.
	if host == "localhost" || isOwn(host) {
		return loopback, nil
	}
	return host, nil
}

// isOwn reports whether one of this host's interfaces has the address host. A daemon beside us in a container gives
// us the gateway of its bridge, which is ours; one outside of our container gives a gateway that is not.
func isOwn(host string) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().String() == host {
			return true
		}
	}
	return false
}

// FreePort returns a port that nothing listens on. It lies below the ports that systems give to outgoing connections:
// while the broker is down, a client that dials such a port of its own host can be given the port itself, be
// connected to itself, and keep the broker from coming back.
func FreePort(t testing.TB) int {
	t.Helper()
	const low, high, tries = 20000, 32000, 100
	for range tries {
		port := low + rand.IntN(high-low)
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatalf("no free port in %d tries between %d and %d", tries, low, high)
	return 0
}

// publish maps port to itself, on the loopback address where the daemon is on this host.
func publish(ports network.PortMap, host string, port int) {
	binding := network.PortBinding{HostPort: strconv.Itoa(port)}
	if host == loopback {
		binding.HostIP = netip.MustParseAddr(host)
	}
	ports[network.MustParsePort(fmt.Sprintf("%d/tcp", port))] = []network.PortBinding{binding}
}

func exposed(ports network.PortMap) []string {
	var list []string
	for p := range ports {
		list = append(list, p.String())
	}
	return list
}

// environment returns the image's variables of a node that clients reach as addr.
func environment(addr string, port int, properties map[string]string) map[string]string {
	env := map[string]string{
		"CLUSTER_ID":      "MkU3OEVBNTcwNTJENDM2Qg",
		"KAFKA_HEAP_OPTS": brokerHeap,
	}
	set := func(key, value string) { env[variable(key)] = value }
	set("process.roles", "broker,controller")
	set("node.id", "1")
	set("controller.listener.names", "CONTROLLER")
	set("controller.quorum.voters", "1@localhost:9093")
	set("listeners", fmt.Sprintf("PLAINTEXT://:%d,CONTROLLER://:9093", port))
	set("advertised.listeners", "PLAINTEXT://"+addr)
	set("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT")
	set("inter.broker.listener.name", "PLAINTEXT")
	set("log.dirs", "/var/lib/kafka/data")
	for key, value := range properties {
		set(key, value)
	}
	return env
}

// addListener gives a node a second listener, which tells its clients to reach it as addr.
func addListener(env map[string]string, port int, addr string) {
	add := func(key, value string) { env[variable(key)] += "," + value }
	add("listeners", fmt.Sprintf("PROXIED://:%d", port))
	add("advertised.listeners", "PROXIED://"+addr)
	add("listener.security.protocol.map", "PROXIED:PLAINTEXT")
}

// variable returns the name of the variable that sets a broker property: a dot is "_", "_" is "__", "-" is "___".
func variable(property string) string {
	return "KAFKA_" + strings.ToUpper(strings.NewReplacer("_", "__", "-", "___", ".", "_").Replace(property))
}

// do runs one command on the container and fails the test where it fails.
func (n *node) do(what string, command func(context.Context) error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	if err := command(ctx); err != nil {
		n.t.Fatalf("%s on %s: %v", what, n.addr, err)
	}
}

func (n *node) start(ctx context.Context) error {
	_, err := n.docker.ContainerStart(ctx, n.id, client.ContainerStartOptions{})
	return err
}

func (n *node) stop(ctx context.Context) error {
	seconds := int(stopTimeout.Seconds())
	_, err := n.docker.ContainerStop(ctx, n.id, client.ContainerStopOptions{Timeout: &seconds})
	return err
}

// kill returns when the process is gone and its port is free.
func (n *node) kill(ctx context.Context) error {
	ended := n.docker.ContainerWait(ctx, n.id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	if _, err := n.docker.ContainerKill(ctx, n.id, client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil {
		return err
	}
	select {
	case <-ended.Result:
		return nil
	case err := <-ended.Error:
		return err
	}
}

// pauseTries is how often a freeze is asked for: on a busy machine the kernel may not get all of a container's threads to
// stop in the time that Docker gives it.
const pauseTries = 5

func (n *node) pause(ctx context.Context) (err error) {
	for range pauseTries {
		if _, err = n.docker.ContainerPause(ctx, n.id, client.ContainerPauseOptions{}); err == nil {
			return nil
		}
	}
	return err
}

func (n *node) unpause(ctx context.Context) error {
	_, err := n.docker.ContainerUnpause(ctx, n.id, client.ContainerUnpauseOptions{})
	return err
}

// running reports whether the process is there; true where Docker does not say.
func (n *node) running() bool {
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	inspect, err := n.docker.ContainerInspect(ctx, n.id, client.ContainerInspectOptions{})
	return err != nil || inspect.Container.State == nil || inspect.Container.State.Running
}

func (n *node) logs() string {
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	stream, err := n.docker.ContainerLogs(ctx, n.id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	defer stream.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, stream); err != nil && err != io.EOF {
		fmt.Fprintf(&out, "(log cut short: %v)", err)
	}
	return out.String()
}

// remove deletes the container with its data, in whatever state it is.
func (n *node) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	_, err := n.docker.ContainerRemove(ctx, n.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil {
		n.t.Errorf("remove container %s: %v", n.id, err)
	}
}

// silent drops what testcontainers would say about every step.
type silent struct{}

func (silent) Printf(string, ...any) {}
