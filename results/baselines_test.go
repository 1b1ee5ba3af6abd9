package results

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func testBaselines() *Baselines {
	at, vcpu := int64(22e9), 1
	return &Baselines{
		Setting: "default", WatchedNS: 24_500_000_000,
		Detectors: []Baseline{
			{Detector: "soft-lockup", Armed: true, ThresholdNS: 10e9, FromNS: 20e9, ToNS: 24_500_000_000, Detected: true, DetectNS: &at, Reports: 1, VCPU: &vcpu, Task: "init:1", Text: "watchdog: BUG"},
			{Detector: "rcu-stall", Armed: true, ThresholdNS: 21e9, FalseAlarms: 1},
			{Detector: "hard-lockup"},
		},
	}
}

func TestBaselinesRoundTrip(t *testing.T) {
	want := testTrial(0)
	want.Baselines, want.Watchdogs = testBaselines(), "default"
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for got, err := range ReadTrials(strings.NewReader(string(b) + "\n")) {
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got.Baselines, err, want.Baselines)
		}
	}
	// A record of before is read as it was, and a trial without them has no word of them.
	if strings.Contains(string(testLine(t, 0)), "baselines") {
		t.Error("a trial without baselines has the field")
	}
}

func TestBaselinesValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(*Baselines)
		want string
	}{
		{"no setting", func(b *Baselines) { b.Setting = "" }, "without a setting"},
		{"negative time", func(b *Baselines) { b.WatchedNS = -1 }, "watched for -1 ns"},
		{"no name", func(b *Baselines) { b.Detectors[1].Detector = "" }, "without a detector"},
		{"twice", func(b *Baselines) { b.Detectors[1].Detector = "soft-lockup" }, "stands there twice"},
		{"detected without time", func(b *Baselines) { b.Detectors[0].DetectNS = nil }, "contradict"},
		{"time without detection", func(b *Baselines) { b.Detectors[0].Detected = false }, "contradict"},
		{"detected without a report", func(b *Baselines) { b.Detectors[0].Reports = 0 }, "contradict"},
		{"before the fault", func(b *Baselines) { *b.Detectors[0].DetectNS = -5 }, "5 ns before the fault"},
		{"off and detected", func(b *Baselines) { b.Detectors[0].Armed = false }, "not armed"},
		{"window backwards", func(b *Baselines) { b.Detectors[0].ToNS = 1 }, "predicted from"},
		{"negative threshold", func(b *Baselines) { b.Detectors[1].ThresholdNS = -1 }, "threshold -1"},
		{"negative count", func(b *Baselines) { b.Detectors[1].FalseAlarms = -1 }, "-1 false alarms"},
	} {
		rec := testTrial(0)
		rec.Baselines = testBaselines()
		if err := rec.Validate(); err != nil {
			t.Fatal(err)
		}
		tc.harm(rec.Baselines)
		if err := rec.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
	}
}
