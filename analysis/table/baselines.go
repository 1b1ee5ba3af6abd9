package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// Baselines is the table of our detection time beside those of the watchdogs
// that Linux and Xen ship, in the same trials. It is nil for a set whose trials
// did not listen to them.
func Baselines(set *analysis.Set) *Table {
	var names, settings []string
	for _, c := range set.Cells {
		for _, t := range c.Valid() {
			if t.Baselines == nil {
				continue
			}
			if !slices.Contains(settings, t.Baselines.Setting) {
				settings = append(settings, t.Baselines.Setting)
			}
			for _, b := range t.Baselines.Detectors {
				if !slices.Contains(names, b.Detector) {
					names = append(names, b.Detector)
				}
			}
		}
	}
	if len(settings) == 0 {
		return nil
	}
	t := &Table{
		Title:   "Baselines side by side: time from fault to report (s)",
		Head:    append([]string{"scenario", "mechanism", "n", "ours"}, names...),
		Numeric: []bool{false, false, true, true},
		Notes: []string{
			"ours: T_D of the mechanism; the others are reports of the guest's own watchdogs in the same trials, thresholds: " + strings.Join(settings, ", ") + ".",
			"median, with k/n where not all trials have one; -: not in this guest, or off.",
			"> t: no report until the fault was lifted t seconds after it landed; a value in brackets: it was not waited for as long as it needs.",
		},
	}
	for range names {
		t.Numeric = append(t.Numeric, true)
	}
	alarms, outside := false, false
	for _, c := range set.Cells {
		trials := slices.DeleteFunc(c.Valid(), func(t results.Trial) bool { return t.Baselines == nil })
		if len(trials) == 0 {
			continue
		}
		var ours []float64
		for _, tr := range trials {
			if ms, ok := analysis.DetectMS(&tr); ok {
				ours = append(ours, ms/1e3)
			}
		}
		row := []string{c.Title(), c.Label, strconv.Itoa(len(trials)), none}
		if c.Watched() && c.Fault {
			row[3] = "missed"
			if len(ours) > 0 {
				row[3] = seconds(ours, len(trials))
			}
		}
		for _, name := range names {
			text, alarm, out := baseline(trials, name, c.Fault)
			row = append(row, text)
			alarms, outside = alarms || alarm, outside || out
		}
		t.Rows = append(t.Rows, row)
	}
	if alarms {
		t.Notes = append(t.Notes, "!: reports without a fault or before it, and how many.")
	}
	if outside {
		t.Notes = append(t.Notes, "*: a report outside the window predicted from threshold and source.")
	}
	return t
}

// baseline writes what became of one detector in the trials of a cell.
func baseline(trials []results.Trial, name string, fault bool) (text string, alarm, outside bool) {
	var times []float64
	var armed, alarms int
	var watched int64
	brief := false
	for _, t := range trials {
		for _, b := range t.Baselines.Detectors {
			if b.Detector != name || !b.Armed {
				continue
			}
			armed++
			alarms += b.FalseAlarms
			if b.DetectNS != nil {
				times = append(times, float64(*b.DetectNS)/1e9)
				outside = outside || b.ToNS > 0 && (*b.DetectNS < b.FromNS || *b.DetectNS > b.ToNS)
				continue
			}
			if watched == 0 || t.Baselines.WatchedNS < watched {
				watched = t.Baselines.WatchedNS
			}
			brief = brief || t.Baselines.WatchedNS < b.ToNS
		}
	}
	switch {
	case armed == 0:
		return "-", false, false
	case len(times) > 0:
		text = seconds(times, armed)
		if outside {
			text += "*"
		}
	case !fault:
		text = none
	default:
		text = fmt.Sprintf("> %.1f", float64(watched)/1e9)
		if brief {
			text = "(" + text + ")"
		}
	}
	if alarms > 0 {
		text += fmt.Sprintf(" %d!", alarms)
	}
	return text, alarms > 0, outside
}

// seconds writes the median of times, and of how many of n there are any.
func seconds(times []float64, n int) string {
	m, ok := stats.Median(times)
	if !ok {
		return none
	}
	text := fmt.Sprintf("%.2f", m)
	if len(times) < n {
		text += fmt.Sprintf(" %d/%d", len(times), n)
	}
	return text
}
