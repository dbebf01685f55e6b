//go:build !unix

package pgtest

import (
	"os/exec"
	"testing"
)

func asServerUser(*exec.Cmd) {}

func give(testing.TB, string) {}
