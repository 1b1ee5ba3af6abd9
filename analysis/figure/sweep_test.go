package figure

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis/internal/madeup"
)

// TestSweep: what is drawn is what was planted, one point for each value.
func TestSweep(t *testing.T) {
	all, err := All(madeup.Sweep(6))
	if err != nil {
		t.Fatal(err)
	}
	f := find(t, all, "sweep")
	var out bytes.Buffer
	if err := f.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		"lab,io_ms,250,exec-altp2m,6,6,0.752,", "lab,io_ms,500,exec-altp2m,6,6,1.002,", "lab,io_ms,1000,exec-altp2m,6,6,1.502,", "lab,io_ms,2500,exec-altp2m,6,6,3.002,",
		"lab,soft_ms,500,exec-altp2m,6,6,1.002,", "lab,soft_ms,4000,exec-altp2m,6,6,4.502,", "lab,soft_ms,9000,exec-altp2m,6,0,,,,12,0,0,",
	} {
		if i+1 >= len(lines) || !strings.HasPrefix(lines[i+1], want) {
			t.Errorf("row %d of %q does not begin with %q", i, lines, want)
		}
	}
	for _, want := range []string{"io_ms: faults io-stall (n = 6 a value); no alarm is right for control-slow-disk (n = 6 a value)", "no alarm is right for control-kernel-work; soft-lockup, 2 s (n = 12 a value)", "A cross"} {
		if !strings.Contains(f.Caption(), want) {
			t.Errorf("the caption does not say %q: %s", want, f.Caption())
		}
	}
	all, err = All(madeup.Trials(3))
	if err != nil || slices.ContainsFunc(all, func(f *Figure) bool { return f.Name == "sweep" }) {
		t.Errorf("a run without a sweep has a figure of one, %v", err)
	}
}
