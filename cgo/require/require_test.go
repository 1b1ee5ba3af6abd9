package require

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// recorder is a test that notes how it ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (*recorder) Helper()                        {}
func (r *recorder) Skipf(f string, args ...any)  { r.skipped = fmt.Sprintf(f, args...) }
func (r *recorder) Fatalf(f string, args ...any) { r.failed = fmt.Sprintf(f, args...) }
func (r *recorder) Fatal(args ...any)            { r.failed = fmt.Sprint(args...) }

func TestMissing(t *testing.T) {
	for _, c := range []struct{ value, skipped, failed string }{
		{"", "no lab in here (needs: lab)", ""},
		{"cc, lab-all,", "no lab in here (needs: lab)", ""},
		{"cc, lab", "", "HANGBENCH_TEST_REQUIRE lists lab: no lab in here"},
		{"labs", "", `HANGBENCH_TEST_REQUIRE: no test needs "labs"`},
	} {
		t.Setenv(Variable, c.value)
		var r recorder
		Missing(&r, Lab, "no lab in %s", "here")
		if r.skipped != c.skipped || !strings.HasPrefix(r.failed, c.failed) || (r.failed == "") != (c.failed == "") {
			t.Errorf("%q: skipped with %q, failed with %q, want %q, %q", c.value, r.skipped, r.failed, c.skipped, c.failed)
		}
	}
}

func TestThings(t *testing.T) {
	all, err := parse("apt,browser,cc,go,guest,kernels,lab,lab-all,latex,libvmi,mounts,prefix")
	if err != nil || !slices.Equal(all, things[:]) || !slices.IsSorted(all) {
		t.Errorf("%v, %v", all, err)
	}
}

// TestEnvironment: a typing error in the variable fails one test at least, also
// where no test is skipped.
func TestEnvironment(t *testing.T) {
	if _, err := parse(os.Getenv(Variable)); err != nil {
		t.Error(err)
	}
}
