package names

import (
	"slices"
	"testing"

	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

// TestBuiltin: every built-in suite can be read with these names, on a host that
// has the kernels and programs that it wants.
func TestBuiltin(t *testing.T) {
	t.Parallel()
	v := Suites(lab.GuestKernels(), lab.GuestPrograms(), lab.Xens())
	for _, name := range suites.Builtin() {
		if _, err := suites.Load(name, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.Contains(v.Mechanisms, suites.Mechanism{Name: "poll"}) || !slices.Contains(v.Drivers, "xenctrl") {
		t.Errorf("mechanisms %v, drivers %v", v.Mechanisms, v.Drivers)
	}
}

// TestHost: a suite with a kernel that the host lacks is refused.
func TestHost(t *testing.T) {
	t.Parallel()
	if _, err := suites.Load("ci", Suites([]string{"other"}, nil, nil)); err == nil {
		t.Error("a suite with a guest kernel that is not there was read")
	}
}
