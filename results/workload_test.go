package results

import (
	"strings"
	"testing"
)

func TestWorkload(t *testing.T) {
	t.Parallel()
	off, on := Window{Ops: 100, NS: 2e9}, Window{Monitor: true, Ops: 60, NS: 3e9}
	for _, tc := range []struct {
		name    string
		outcome Outcome
		w       Workload
		want    string // part of the error; empty for none
	}{
		{"whole", Clean, Workload{"p", "o", []Window{off, on, on, off}}, ""},
		{"a false alarm may cut it short", FalseAlarm, Workload{"p", "o", []Window{off, on}}, ""},
		{"an invalid one may lack windows", Invalid, Workload{"p", "o", []Window{off}}, ""},
		{"clean and cut short", Clean, Workload{"p", "o", []Window{off, on, on}}, "as many windows"},
		{"clean without windows", Clean, Workload{"p", "o", nil}, "as many windows"},
		{"nothing done", Clean, Workload{"p", "o", []Window{{NS: 1}, on}}, "did nothing without"},
		{"nothing done with the monitor", Clean, Workload{"p", "o", []Window{off, {Monitor: true, NS: 1}}}, ""},
		{"no program", Clean, Workload{"", "o", []Window{off, on}}, "without program"},
		{"no operation", Clean, Workload{"p", "", []Window{off, on}}, "without program or op"},
		{"no time", Clean, Workload{"p", "o", []Window{off, {Monitor: true, Ops: 1}}}, "window 1: ns 0 is not within 1"},
		{"too long", Clean, Workload{"p", "o", []Window{{Ops: 1, NS: most + 1}, on}}, "window 0: ns"},
		{"too much", Clean, Workload{"p", "o", []Window{{Ops: most + 1, NS: 1}, on}}, "window 0: ops"},
		{"too many", FalseAlarm, Workload{"p", "o", make([]Window, mostWindows+1)}, "65 windows"},
	} {
		tr := testTrial(0)
		tr.Kind, tr.Scenario, tr.Outcome, tr.Workload = Measured, "workload-cpu", tc.outcome, &tc.w
		tr.Class, tr.Scope, tr.Expected, tr.DetectNS, tr.DeadlineNS, tr.Recovered = "", "", "", nil, 0, nil
		if tc.outcome == Invalid {
			tr.Reason = "some"
		}
		err := tr.Validate()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	w := Workload{Windows: []Window{off, on, on, off, off}}
	gotOn, gotOff := w.Sums()
	if gotOn != (Window{true, 120, 6e9}) || gotOff != (Window{false, 300, 6e9}) || w.Complete() {
		t.Errorf("sums %+v, %+v, complete %v", gotOn, gotOff, w.Complete())
	}
}
