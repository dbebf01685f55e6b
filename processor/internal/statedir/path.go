package statedir

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// serviceBase is where state lies for a user without a home.
const serviceBase = "/var/lib"

// DefaultPath is $XDG_STATE_HOME/penstock/APP, else ~/.local/state/penstock/APP, and for a user without a home
// /var/lib/penstock/APP: never a temporary directory, which the system may clean under a running program.
func DefaultPath(app string) string {
	return filepath.Join(base(), "penstock", segment(app))
}

func base() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) { // a relative one is to be ignored, says the XDG rule
		return dir
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state")
	}
	return serviceBase
}

// segment makes one path element of an application's id.
func segment(app string) string {
	if strings.Trim(app, ".") == "" {
		return strings.ReplaceAll(app, ".", "%2E")
	}
	return url.PathEscape(app)
}
