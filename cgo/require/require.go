// Package require is for tests that need something of the machine: the lab, a C
// compiler, a guest. Without it such a test is skipped. A CI run that has the thing
// says so in the environment variable HANGBENCH_TEST_REQUIRE, and the skip becomes a
// failure. So a test that is meant to run cannot stop running unnoticed.
//
//	HANGBENCH_TEST_REQUIRE=lab,cc,apt go test ./...
//
// Only tests import the package. It lies here because tests of package cgo/xenctrl
// need it, and nothing below cgo imports anything outside it.
package require

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Variable is the environment variable that lists, with commas, what must not be
// missing.
const Variable = "HANGBENCH_TEST_REQUIRE"

// Thing is something that a test needs.
type Thing string

// Things that tests need.
const (
	Apt     Thing = "apt"     // apt-config, and the tools that fetch from a mirror
	Browser Thing = "browser" // Chromium, which opens a report
	CC      Thing = "cc"      // a C compiler of the machine's own, with its headers
	Go      Thing = "go"      // the go command
	Guest   Thing = "guest"   // a Xen control domain with a guest
	Kernels Thing = "kernels" // kernel images of distributions
	Lab     Thing = "lab"     // the emulated Xen host (HANGBENCH_TEST_LAB=1)
	LabAll  Thing = "lab-all" // and the time for its long tests (HANGBENCH_TEST_LAB=all)
	LaTeX   Thing = "latex"   // pdflatex with booktabs and graphicx
	LibVMI  Thing = "libvmi"  // LibVMI and pkg-config
	Mounts  Thing = "mounts"  // mounts of its own: root, as a rule
	Prefix  Thing = "prefix"  // the lab's packages, unpacked (HANGBENCH_PREFIX)
)

var things = [...]Thing{Apt, Browser, CC, Go, Guest, Kernels, Lab, LabAll, LaTeX, LibVMI, Mounts, Prefix}

// parse splits the value of Variable. The error names a thing that no test needs.
func parse(value string) ([]Thing, error) {
	var required []Thing
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.Contains(things[:], Thing(name)) {
			return nil, fmt.Errorf("%s: no test needs %q; there are %v", Variable, name, things)
		}
		required = append(required, Thing(name))
	}
	return required, nil
}

// Missing ends the test t, which needs a thing that is not here: it skips the test,
// or fails it if Variable lists the thing. The message says what is missing and how
// to get it.
func Missing(t testing.TB, thing Thing, format string, args ...any) {
	t.Helper()
	required, err := parse(os.Getenv(Variable))
	message := fmt.Sprintf(format, args...)
	switch {
	case err != nil:
		t.Fatal(err)
	case slices.Contains(required, thing):
		t.Fatalf("%s lists %s: %s", Variable, thing, message)
	default:
		t.Skipf("%s (needs: %s)", message, thing)
	}
}
