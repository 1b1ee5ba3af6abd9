package results

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func testFindings() []Finding {
	at, vcpu := int64(22e9), 1
	const watched = 24_500_000_000
	return []Finding{
		{
			Observer: "soft-lockup", Armed: true, WatchedNS: watched, ThresholdNS: 10e9, FromNS: 20e9, ToNS: watched, AtNS: &at,
			Reports: 1, VCPU: &vcpu, Task: "init:1", Evidence: []string{"watchdog: BUG"},
		},
		{Observer: "rcu-stall", Armed: true, WatchedNS: watched, ThresholdNS: 21e9, FalseAlarms: 1},
		{Observer: "hard-lockup", WatchedNS: watched},
		{Observer: "mine", Armed: true, WatchedNS: watched, Class: "spin", Scope: "full", Failed: "it ended with status 1"},
	}
}

func TestFindingsRoundTrip(t *testing.T) {
	t.Parallel()
	want := testTrial(0)
	want.Kernel, want.Findings, want.Watchdogs = "cloud-6.12", testFindings(), "default"
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, string(b))[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got.Findings, want.Findings)
	}
	if strings.Contains(string(testLine(t, 0)), "findings") {
		t.Error("a trial without findings has the field")
	}
	if got := want.Finding("mine"); got != &want.Findings[3] || want.Finding("nobody") != nil {
		t.Errorf("finding of mine: %+v; of nobody: %+v", got, want.Finding("nobody"))
	}
}

// TestOldFindings: what an old record says of the watchdogs is read as findings.
func TestOldFindings(t *testing.T) {
	t.Parallel()
	line := strings.TrimSuffix(strings.TrimSpace(string(testLine(t, 0))), "}") +
		`,"baselines":{"setting":"default","watched_ns":24500000000,` +
		`"detectors":[{"detector":"soft-lockup","armed":true,"threshold_ns":10000000000,"from_ns":20000000000,` +
		`"to_ns":24500000000,` +
		`"detected":true,"detect_ns":22000000000,"reports":1,"vcpu":1,"task":"init:1","text":"watchdog: BUG"},` +
		`{"detector":"rcu-stall","armed":true,"threshold_ns":21000000000,"detected":false,"false_alarms":1},` +
		`{"detector":"hard-lockup","armed":false,"detected":false}]}}`
	got := read(t, line)[0]
	if want := testFindings()[:3]; got.Watchdogs != "default" || !reflect.DeepEqual(got.Findings, want) {
		t.Errorf("watchdogs %q, %+v, want %+v", got.Watchdogs, got.Findings, want)
	}
}

func TestFindingsValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		harm func([]Finding)
		want string
	}{
		{"negative time", func(f []Finding) { f[0].WatchedNS = -1 }, "watched_ns -1"},
		{"no name", func(f []Finding) { f[1].Observer = "" }, "finding 1 has no observer"},
		{"twice", func(f []Finding) { f[1].Observer = "soft-lockup" }, "two findings of observer soft-lockup"},
		{"report without time", func(f []Finding) { f[0].AtNS = nil }, "contradict"},
		{"time without a report", func(f []Finding) { f[0].Reports = 0 }, "contradict"},
		{"before the fault", func(f []Finding) { *f[0].AtNS = -5 }, "at_ns -5"},
		{"off and reported", func(f []Finding) { f[0].Armed = false }, "not armed"},
		{"window backwards", func(f []Finding) { f[0].ToNS = 1 }, "predicted from"},
		{"negative start", func(f []Finding) { f[1].FromNS = -1 }, "from_ns -1"},
		{"negative threshold", func(f []Finding) { f[1].ThresholdNS = -1 }, "threshold_ns -1"},
		{"negative count", func(f []Finding) { f[1].FalseAlarms = -1 }, "false_alarms -1"},
		{"scope", func(f []Finding) { f[3].Scope = "half" }, `scope "half" is none of`},
		{"negative reports", func(f []Finding) { f[1].Reports = -1 }, "reports -1"},
	} {
		rec := testTrial(0)
		rec.Findings = testFindings()
		if err := rec.Validate(); err != nil {
			t.Fatal(err)
		}
		tc.harm(rec.Findings)
		if err := rec.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
	}
}
