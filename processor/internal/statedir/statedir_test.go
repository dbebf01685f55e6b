package statedir_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/processor/internal/statedir"
	"github.com/stretchr/testify/require"
)

const envHold = "STATEDIR_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(envHold); path != "" {
		_, err := statedir.Open(path, "app")
		fmt.Println("held", err)
		select {}
	}
	os.Exit(m.Run())
}

func TestASecondHolderIsToldTheFirst(t *testing.T) {
	path := t.TempDir()
	d, err := statedir.Open(path, "app")
	require.NoError(t, err)
	_, err = statedir.Open(path, "app")
	var locked *statedir.LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, os.Getpid(), locked.PID)
	require.ErrorContains(t, err, path)
	require.NoError(t, d.Close())
	d, err = statedir.Open(path, "app")
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

// R8, F24: the lock is the process's, and a kill leaves none behind.
func TestAKilledHolderLeavesNoLock(t *testing.T) {
	path := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envHold+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 100)
	n, err := out.Read(line)
	require.NoError(t, err)
	require.Equal(t, "held <nil>", strings.TrimSpace(string(line[:n])))
	_, err = statedir.Open(path, "app")
	var locked *statedir.LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, cmd.Process.Pid, locked.PID)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	d, err := statedir.Open(path, "app")
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

func TestTheIdentityIsKept(t *testing.T) {
	path := t.TempDir()
	d, err := statedir.Open(path, "app")
	require.NoError(t, err)
	id := d.Identity()
	require.Len(t, id.Instance, 12)
	id.Workers = 7
	require.NoError(t, d.SaveIdentity(id))
	require.NoError(t, d.Close())
	d, err = statedir.Open(path, "app")
	require.NoError(t, err)
	require.Equal(t, id, d.Identity())
	require.NoError(t, d.Close())
}

func TestADirectoryOfAnotherApplicationIsRefused(t *testing.T) {
	path := t.TempDir()
	d, err := statedir.Open(path, "app")
	require.NoError(t, err)
	require.NoError(t, d.Close())
	_, err = statedir.Open(path, "other")
	var foreign *statedir.ForeignError
	require.ErrorAs(t, err, &foreign)
	require.ErrorContains(t, err, `"app"`)
	require.ErrorContains(t, err, `"other"`)
	d, err = statedir.Open(path, "app")
	require.NoError(t, err)
	_, err = statedir.Open(path, "other")
	require.ErrorAs(t, err, &foreign, "also while it is in use")
	require.NoError(t, d.Close())
}

func TestAnUnreadableIdentityIsNamed(t *testing.T) {
	path := t.TempDir()
	file := filepath.Join(path, "identity.json")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err := statedir.Open(path, "app")
	require.ErrorContains(t, err, file)
	require.NotContains(t, err.Error(), "%!")
	require.NoError(t, os.WriteFile(file, []byte(`{"app":"app"}`), 0o600))
	_, err = statedir.Open(path, "app")
	require.ErrorContains(t, err, file)
	require.NotContains(t, err.Error(), "%!")
}

func TestTheDefaultPathIsNoTemporaryDirectory(t *testing.T) {
	for _, c := range []struct{ xdg, home, app, want string }{
		{"/x", "/h", "app", "/x/penstock/app"},
		{"", "/h", "app", "/h/.local/state/penstock/app"},
		{"relative", "/h", "app", "/h/.local/state/penstock/app"},
		{"", "", "app", "/var/lib/penstock/app"},
		{"/x", "/h", "..", "/x/penstock/%2E%2E"},
		{"/x", "/h", "a/b", "/x/penstock/a%2Fb"},
	} {
		t.Setenv("XDG_STATE_HOME", c.xdg)
		t.Setenv("HOME", c.home)
		require.Equal(t, c.want, statedir.DefaultPath(c.app))
	}
}

func TestSetAsideKeepsOneDamagedStore(t *testing.T) {
	d, err := statedir.Open(t.TempDir(), "app")
	require.NoError(t, err)
	for i := range 2 {
		require.NoError(t, os.MkdirAll(d.StorePath(), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(d.StorePath(), "f"), fmt.Append(nil, i), 0o600))
		aside, err := d.SetAside()
		require.NoError(t, err)
		require.NoDirExists(t, d.StorePath())
		raw, err := os.ReadFile(filepath.Join(aside, "f"))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(raw))
	}
	asides, err := filepath.Glob(filepath.Join(d.Path(), "store.bad-*"))
	require.NoError(t, err)
	require.Len(t, asides, 1)
	aside, err := d.SetAside()
	require.NoError(t, err)
	require.Empty(t, aside, "there is no store")
	require.DirExists(t, asides[0])
	require.NoError(t, d.Close())
}
