package export

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"

	"hangbench/analysis"
	"hangbench/results"
)

// unit is one value of a trial in the benchmark format.
type unit struct {
	name   string
	better analysis.Better
	value  analysis.Measure
}

// unitOf is the metric in the benchmark format, whose unit of time is the second.
func unitOf(m analysis.Metric) unit {
	if m.Unit != analysis.Milliseconds {
		return unit{m.Export, m.Better, m.Value}
	}
	return unit{m.Export, m.Better, func(t *results.Trial) (float64, bool) {
		x, ok := m.Value(t)
		return math.Round(x*1e6) / 1e9, ok // whole nanoseconds
	}}
}

// units returns the values of a result line in their order.
func units() []unit {
	var us []unit
	for _, m := range analysis.Metrics() {
		if m.Export != "" {
			us = append(us, unitOf(m))
		}
	}
	return append(us,
		unit{"sec/op-without", analysis.Lower, inverse(analysis.RateOff.Of)},
		unit{"sec/op-with", analysis.Lower, inverse(analysis.RateOn.Of)})
}

// watchdogs are the values of the guest's own watchdogs, of trials that listened
// to them. One that is not there has none.
func watchdogs(trials []results.Trial) []unit {
	var names []string
	for i := range trials {
		for _, f := range trials[i].Findings {
			if !slices.Contains(names, f.Observer) {
				names = append(names, f.Observer)
			}
		}
	}
	var us []unit
	for _, name := range names {
		time := unitOf(analysis.FindingTime(name))
		time.name = word(time.name)
		us = append(us,
			time,
			unit{word(name) + "-reported/trial", analysis.Neither, func(t *results.Trial) (float64, bool) {
				f := t.Finding(name)
				if f == nil || !f.Armed || t.DeadlineNS == 0 {
					return 0, false
				}
				if f.AtNS != nil {
					return 1, true
				}
				return 0, true
			}})
	}
	return us
}

// Write writes the run's valid trials in plan order. What tells the run from
// another of the same experiment is in lines that begin with "#", which readers
// of the format skip: as configuration it would keep benchstat from comparing
// the two. Invalid trials are counted there, as are damaged records and missing
// trials.
func Write(w io.Writer, run *results.Run) error {
	invalid := 0
	for i := range run.Trials {
		if run.Trials[i].Outcome == results.Invalid {
			invalid++
		}
	}
	m := &run.Manifest
	if _, err := fmt.Fprintf(w, "# run %s; seed %d; hangbench %s\n# left out: %d invalid trials, %d missing, %d damaged "+
		"records\n",
		oneLine(m.RunID), m.Seed, oneLine(m.Versions.Hangbench), invalid, run.Missing(), len(run.Bad)); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	out := benchfmt.NewWriter(w)
	us := append(units(), watchdogs(run.Trials)...)
	for _, u := range us {
		if u.better == analysis.Neither {
			continue
		}
		m := &benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: u.name, Key: "better"},
			OrigUnit: u.name, Value: u.better.String()}
		if err := out.Write(m); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	config := configuration(m)
	for i := range run.Trials {
		t := &run.Trials[i]
		if t.Outcome == results.Invalid {
			continue
		}
		r := &benchfmt.Result{Config: config, Name: benchfmt.Name(name(t)), Iters: 1}
		for _, u := range us {
			if x, ok := u.value(t); ok {
				r.Values = append(r.Values, benchfmt.Value{Value: x, Unit: u.name})
			}
		}
		if err := out.Write(r); err != nil {
			return fmt.Errorf("export: trial %d: %w", t.Trial, err)
		}
	}
	return nil
}

// configuration returns the facts that two results must share to be comparable.
func configuration(m *results.Manifest) []benchfmt.Config {
	var config []benchfmt.Config
	for _, c := range [][2]string{
		{"pkg", "hangbench"},
		{"host", m.Host.Kind},
		{"machine", m.Host.Description},
		{"suite", m.Suite.Name},
		{"suite-sha256", m.Suite.SHA256},
	} {
		if value := oneLine(c[1]); value != "" {
			config = append(config, benchfmt.Config{Key: c[0], Value: []byte(value), File: true})
		}
	}
	return config
}

// name is the benchmark's name after the word Benchmark.
func name(t *results.Trial) string {
	name := fmt.Sprintf("Trial/scenario=%s/mechanism=%s/driver=%s", word(t.Title()), word(t.Mechanism), word(t.Driver))
	for _, f := range t.Factors() {
		if f.Label != "" {
			name += "/" + f.Name + "=" + word(f.Value)
		}
	}
	if t.Thresholds != "" {
		name += "/thresholds=" + word(strings.ReplaceAll(string(t.Thresholds), " ", ":"))
	}
	return name
}

// word makes a part of a name of text that may be anything: no space, which ends
// the name, and no slash, which begins the next part. A final "-1" would be read
// as the number of CPUs, but a name never ends in such text.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ',':
			return '+'
		case r == ' ':
			return -1
		case r == '/' || r <= ' ' || r == 0x7f || r > '~':
			return '_'
		}
		return r
	}, s)
}

// oneLine keeps text from ending its line early.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s))
}

// inverse is the time of one operation in seconds.
func inverse(rate analysis.Measure) analysis.Measure {
	return func(t *results.Trial) (float64, bool) {
		x, ok := rate(t)
		return 1 / x, ok && x > 0
	}
}
