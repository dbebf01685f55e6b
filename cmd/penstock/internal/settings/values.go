package settings

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choice is a flag value of a few words.
type choice struct {
	value *string
	words []string
}

// Choice declares a flag that takes one of a few words; the first is the default. They are offered for completion.
func Choice(cmd *cobra.Command, fs *pflag.FlagSet, p *string, name string, words []string, usage string) {
	*p = words[0]
	fs.Var(&choice{p, words}, name, usage+": "+strings.Join(words, ", "))
	complete := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic(err) // the flag set is not the command's
	}
}

func (c *choice) String() string { return *c.value }

func (*choice) Type() string { return "word" }

func (c *choice) Set(s string) error {
	for _, w := range c.words {
		if w == s {
			*c.value = s
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", s, strings.Join(c.words, ", "))
}

// Size is a flag value in bytes, written as 64MiB, 1GiB, 512KiB, 10MB or plain digits.
type Size int64

var units = []struct {
	suffix string
	bytes  float64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3},
	{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"B", 1}, {"", 1},
}

func (s *Size) String() string {
	for _, u := range units[:3] {
		if b := Size(u.bytes); *s >= b && *s%b == 0 {
			return strconv.FormatInt(int64(*s/b), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type is what --help calls the value.
func (*Size) Type() string { return "size" }

// Set reads a size.
func (s *Size) Set(text string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0 && n*u.bytes < math.MaxInt64) {
			break
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 64MiB", text)
}
