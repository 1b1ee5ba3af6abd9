// Package oldflag keeps the former names of flags working. A flag that has been
// renamed is hidden from help, does what the new one does, and says on standard
// error, in one line, what to write instead.
package oldflag

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// annotation marks a former name; its value says what to write instead.
const annotation = "hangbench-instead"

// Rename lets old stand for the flag new, which f must have.
func Rename(f *pflag.FlagSet, old, new string) {
	Add(f, old, "--"+new, func(value string) error { return f.Set(new, value) })
}

// Add adds the former flag old. instead says in the warning what to write in its
// place; set does what the flag did and returns an error if it does not take the
// value.
func Add(f *pflag.FlagSet, old, instead string, set func(value string) error) {
	f.Func(old, "former name of "+instead, set)
	flag := f.Lookup(old)
	flag.Hidden = true
	flag.Annotations = map[string][]string{annotation: {instead}}
}

// Warn writes a line to w for each former name that the parsed arguments have
// used.
func Warn(w io.Writer, f *pflag.FlagSet) error {
	var err error
	f.Visit(func(flag *pflag.Flag) {
		if instead := flag.Annotations[annotation]; len(instead) > 0 && err == nil {
			_, err = fmt.Fprintf(w, "hangbench: warning: --%s is now %s; the old name still works\n", flag.Name, instead[0])
		}
	})
	return err
}
