package suites

import (
	"reflect"
	"strings"
	"testing"
)

// sweeping has a sweep of all scenarios in line 9, and one of its own in line 12.
var sweeping = strings.Replace(minimal, "[control-idle]", "[spinlock-deadlock, control-idle]", 1) + `sweep:
  - threshold: spin_ms
    values: [100, 50]
  - {threshold: forkstorm_threads, values: [10, 20], scenarios: [control-idle], thresholds: {soft_ms: 8}}
`

func TestSweep(t *testing.T) {
	t.Parallel()
	s, err := Parse("x.yaml", []byte(sweeping+"thresholds: {soft_ms: 7}\n"), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	want := []Sweep{
		{"spin_ms", []int64{100, 50}, []string{"spinlock-deadlock", "control-idle"}, nil},
		{"forkstorm_threads", []int64{10, 20}, []string{"control-idle"}, map[string]int64{"soft_ms": 8}},
	}
	if !reflect.DeepEqual(s.Sweeps, want) {
		t.Errorf("sweeps %+v, want %+v", s.Sweeps, want)
	}
	for _, tc := range []struct {
		scenario string
		want     []map[string]int64
	}{
		{"spinlock-deadlock", []map[string]int64{{"soft_ms": 7, "spin_ms": 100}, {"soft_ms": 7, "spin_ms": 50}}},
		{"control-idle", []map[string]int64{
			{"soft_ms": 7, "spin_ms": 100}, {"soft_ms": 7, "spin_ms": 50},
			{"soft_ms": 8, "forkstorm_threads": 10}, {"soft_ms": 8, "forkstorm_threads": 20}}},
	} {
		if got := s.Settings(tc.scenario); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: settings %v, want %v", tc.scenario, got, tc.want)
		}
	}
	if !reflect.DeepEqual(s.Thresholds, map[string]int64{"soft_ms": 7}) {
		t.Errorf("the settings changed the suite's thresholds to %v", s.Thresholds)
	}
	s.Sweeps = nil
	if got := s.Settings("control-idle"); !reflect.DeepEqual(got, []map[string]int64{{"soft_ms": 7}}) {
		t.Errorf("without a sweep: %v", got)
	}
}

func TestSweepErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, old, new string
		want           []string
	}{
		{"no list", "sweep:\n  - threshold: spin_ms\n    values: [100, 50]\n  - {", "sweep: 5\n# {",
			[]string{`x.yaml:9: sweep is the number 5: write a list`}},
		{"empty", "sweep:\n  - threshold: spin_ms\n    values: [100, 50]\n  - {", "sweep: []\n# {",
			[]string{`x.yaml:9: sweep is an empty list`}},
		{"key", "values: [100", "value: [100", []string{"x.yaml:10: a sweep has no values: add the key",
			`x.yaml:11: a sweep has no key "value" (did you mean "values"?): valid keys are scenarios, threshold, ` +
				`thresholds, values`}},
		{"threshold", "threshold: spin_ms", "threshold: spin",
			[]string{`x.yaml:10: threshold "spin" is unknown (did you mean "spin_ms"?)`}},
		{"range", "[10, 20]", "[9, 1001]", []string{"x.yaml:12: forkstorm_threads is 9, out of range: use 10 to 1000",
			"x.yaml:12: forkstorm_threads is 1001"}},
		{"value twice", "[10, 20]", "[10, 10]", []string{"x.yaml:12: forkstorm_threads 10 stands in line 12 already"}},
		{"one value", "[100, 50]", "[100]",
			[]string{"x.yaml:11: the sweep of spin_ms has one value: write two or more, or set it under thresholds"}},
		{"text", "[100, 50]", "[100, 50ms]", []string{`x.yaml:11: spin_ms is the text "50ms": write a whole number`}},
		{"twice", "forkstorm_threads, values: [10, 20]", "spin_ms, values: [10, 20]",
			[]string{`x.yaml:12: threshold "spin_ms" is swept in line 10 already`}},
		{"unknown scenario", "scenarios: [control-idle],", "scenarios: [control-idel],",
			[]string{`x.yaml:12: scenario "control-idel" is unknown (did you mean "control-idle"?)`}},
		{"other scenario", "scenarios: [control-idle],", "scenarios: [control-busy],",
			[]string{`x.yaml:10: scenario "control-busy" of the sweep of forkstorm_threads is not among the suite's scenarios`}},
		{"not swept", "values: [100, 50]", "values: [100, 50]\n    scenarios: [control-idle]",
			[]string{`x.yaml:10: scenario "spinlock-deadlock" is in no sweep and would not be tried`}},
		{"swept beside", "thresholds: {soft_ms: 8}", "thresholds: {spin_ms: 8}",
			[]string{"x.yaml:10: spin_ms is swept and set in the sweep of forkstorm_threads"}},
		{"beside itself", "thresholds: {soft_ms: 8}", "thresholds: {forkstorm_threads: 12}",
			[]string{"x.yaml:10: forkstorm_threads is swept and set in the sweep of forkstorm_threads"}},
		{"beside range", "thresholds: {soft_ms: 8}", "thresholds: {soft_ms: 0}",
			[]string{"x.yaml:12: soft_ms is 0, out of range"}},
		{"set too", "sweep:", "thresholds: {spin_ms: 7}\nsweep:",
			[]string{"x.yaml:11: spin_ms is swept and stands under thresholds too: remove it there"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(sweeping, tc.old, tc.new, 1)
			if text == sweeping {
				t.Fatalf("%q is not in the suite", tc.old)
			}
			s, err := Parse("x.yaml", []byte(text), vocabulary)
			if err == nil {
				t.Fatalf("accepted as %+v", s)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("message has %d lines, want %d:\n%v", len(lines), len(tc.want), err)
			}
			for i, want := range tc.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %q does not say %q", lines[i], want)
				}
			}
		})
	}
}
