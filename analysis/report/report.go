package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hangbench/analysis"
	"hangbench/analysis/exhibit"
	"hangbench/analysis/figure"
	"hangbench/analysis/table"
	"hangbench/results"
	"hangbench/results/printable"
)

//go:embed page.html
var pageText string

// File is the name of the page in the folder given to Write.
const File = "report.html"

// Write writes the run's page into dir and returns its path. set is the run's trials; it
// is nil if there are none. If the write fails, an earlier page stays as it was.
func Write(dir string, run *results.Run, set *analysis.Set) (string, error) {
	var buf bytes.Buffer
	if err := Render(&buf, run, set); err != nil {
		return "", err
	}
	path := filepath.Join(dir, File)
	if err := results.ReplaceFile(path, buf.Bytes()); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	return path, nil
}

// Render writes the run's page. set is as for Write. A run without a trial has a page
// too: it says so.
func Render(w io.Writer, run *results.Run, set *analysis.Set) error {
	p := page{
		Title:      "hangbench " + run.Manifest.RunID,
		Caption:    "no trials yet",
		Notices:    notices(run),
		Provenance: provenance(&run.Manifest),
		Suite:      printable.Text(run.Manifest.Suite.Text),
	}
	if set != nil {
		p.Caption = set.Caption()
		if err := p.fill(set, run.Trials); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// page holds the values that page.html shows.
type page struct {
	Title      string
	Caption    string
	Notices    []string
	Answer     []fact
	Figures    []inlined
	Tables     []shownTable
	Groups     []*group
	Provenance []pair
	Suite      string
}

// inlined is a figure as an element of the page.
type inlined struct {
	Title, Text string
	SVG         template.HTML
}

type shownTable struct {
	*table.Table
	Open bool // unfolded
}

// group is the trials of a scenario.
type group struct {
	Scenario string
	Fault    bool
	Summary  string
	Open     bool
	Trials   []trialRow
}

// openTrials is the largest number of trials that a page shows unfolded. A phone's browser
// is slow with more.
const openTrials = 100

// fill fills in everything that comes from trials.
func (p *page) fill(set *analysis.Set, trials []results.Trial) error {
	var err error
	if p.Answer, err = answer(set); err != nil {
		return err
	}
	for _, e := range exhibit.All() {
		if e.Table == nil {
			f, err := e.Figure(set)
			if err != nil {
				return err
			}
			if f == nil {
				continue
			}
			if err := p.inline(f); err != nil {
				return err
			}
			continue
		}
		t, err := e.Table(set)
		if err != nil {
			return fmt.Errorf("table %s: %w", e.Name, err)
		}
		if len(t.Rows) > 0 {
			p.Tables = append(p.Tables, shownTable{t, e.Open})
		}
	}
	p.group(set, trials)
	return nil
}

// drawnTitle is the group of all faults whose effect nobody knew before: there are hundreds,
// each of them tried a few times.
const drawnTitle = "faults of unknown effect"

// titleOf is the title of a trial's group.
func titleOf(t *results.Trial) string {
	if t.Kind == results.Unknown {
		return drawnTitle
	}
	return t.Title()
}

// group sorts the trials by scenario, in the order of the set.
func (p *page) group(set *analysis.Set, trials []results.Trial) {
	by := make(map[string]*group)
	for _, c := range set.Cells {
		g := by[c.Title()]
		if g == nil {
			g = &group{Scenario: c.Title(), Fault: c.Fault, Open: len(trials) <= openTrials}
			by[c.Title()] = g
			p.Groups = append(p.Groups, g)
		}
	}
	if len(set.Unknown) > 0 {
		by[drawnTitle] = &group{Scenario: drawnTitle, Fault: true, Open: len(trials) <= openTrials}
		p.Groups = append(p.Groups, by[drawnTitle])
	}
	counts := make(map[string]map[string]int) // of each group, by outcome
	for i := range trials {
		t := &trials[i]
		g := by[titleOf(t)]
		g.Trials = append(g.Trials, newTrialRow(set, t))
		if counts[g.Scenario] == nil {
			counts[g.Scenario] = make(map[string]int)
		}
		counts[g.Scenario][outcome(t)]++
	}
	for _, g := range p.Groups {
		var parts []string
		for _, o := range []results.Outcome{results.Detected, results.Undone, results.Missed, unwatched, results.Clean,
			results.FalseAlarm, results.Invalid} {
			if n := counts[g.Scenario][string(o)]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(string(o), "_", " ")))
			}
		}
		g.Summary = strings.Join(parts, ", ")
	}
}

// unwatched is the outcome of a fault without a monitor: nothing could detect it, so it
// is not missed.
const unwatched = "without a monitor"

// outcome is the trial's outcome for a reader.
func outcome(t *results.Trial) string {
	if t.Outcome == results.Missed && !t.Watched() {
		return unwatched
	}
	return string(t.Outcome)
}

type pair struct{ Name, Value string }

// badShown is the largest number of damaged records that are named one by one.
const badShown = 20

// notices returns the warnings that a reader needs before the numbers.
func notices(run *results.Run) []string {
	var ns []string
	m := &run.Manifest
	if m.Interrupted || run.Missing() > 0 {
		ns = append(ns, fmt.Sprintf("The run is not complete: %d of %d planned trials are stored.", len(run.Trials),
			m.Planned))
	}
	invalid := 0
	for _, t := range run.Trials {
		if t.Outcome == results.Invalid {
			invalid++
		}
	}
	if invalid > 0 {
		ns = append(ns, fmt.Sprintf("Invalid: %d of %s. Their ground truth was not confirmed. They are listed below and "+
			"used for no number.", invalid, analysis.Count(len(run.Trials), "trial")))
	}
	for i, bad := range run.Bad {
		if i == badShown {
			ns = append(ns, "Left out: "+analysis.Count(len(run.Bad)-i, "more record")+".")
			break
		}
		ns = append(ns, "Left out: "+bad.Error())
	}
	return append(ns, m.Warnings...)
}

// inline appends the figure as an element of the page. The drawings have no identifiers,
// so they cannot clash.
func (p *page) inline(f *figure.Figure) error {
	var out bytes.Buffer
	if err := f.WriteSVG(&out); err != nil {
		return err
	}
	_, element, ok := bytes.Cut(out.Bytes(), []byte("<svg "))
	if !ok {
		return fmt.Errorf("the figure %q is no SVG", f.Title)
	}
	// The drawing library escapes text. A test with a hostile record checks it.
	p.Figures = append(p.Figures, inlined{
		Title: f.Title, Text: f.Caption(),
		SVG: template.HTML(`<svg role="img" aria-label="` + template.HTMLEscapeString(f.Title) +
			`; the values are in the tables" ` + string(element)),
	})
	return nil
}

// life is a trial from the fault to its deadline, in percent of that time.
type life struct {
	Hang    string // last sign of life; empty if not known
	Verdict string // empty if there was none
	Says    string
}

func newLife(t *results.Trial) *life {
	if t.DeadlineNS <= 0 || t.Outcome == results.Invalid || t.Outcome == results.FalseAlarm {
		return nil
	}
	at := func(ns int64) string {
		return strconv.FormatFloat(min(100, max(0.5, 100*float64(ns)/float64(t.DeadlineNS))), 'f', 1, 64)
	}
	l := &life{Says: fmt.Sprintf("no verdict by the deadline of %.1f s", analysis.Seconds(t.DeadlineNS))}
	if t.DetectNS != nil {
		l.Verdict = at(*t.DetectNS)
		l.Says = fmt.Sprintf("verdict after %.3f s of at most %.1f s", analysis.Seconds(*t.DetectNS),
			analysis.Seconds(t.DeadlineNS))
	}
	if t.HangNS != nil {
		l.Hang = at(*t.HangNS)
		l.Says += fmt.Sprintf("; last sign of life after %.3f s", analysis.Seconds(*t.HangNS))
	}
	if t.AllClearNS != nil {
		l.Says += fmt.Sprintf("; called over %.3f s after the fault was removed", analysis.Seconds(*t.AllClearNS))
	}
	return l
}

// trialRow is one trial as text.
type trialRow struct {
	Trial, Block int
	Mechanism    string
	Life         *life // nil for a control
	Outcome      string
	Style        string // class of the style sheet
	Class        string
	Detect       string
	Violations   uint64
	Events       string
	Progress     string
	Recovered    string
	Seed         uint64
	Reason       string
	Evidence     []string
	Console      string // end of the guest's console; hostile, as is the evidence
	Lines        string // number of lines of Console
}

func newTrialRow(set *analysis.Set, t *results.Trial) trialRow {
	const none = "–"
	r := trialRow{
		Trial: t.Trial, Block: t.Block, Mechanism: set.Label(t.Cell), Life: newLife(t), Outcome: outcome(t),
		Style: string(t.Outcome),
		Class: none, Detect: none, Events: none, Progress: none, Recovered: none,
		Violations: t.EPT.Total, Seed: t.Seed, Reason: t.Reason, Evidence: slices.Concat(t.Evidence, observed(t)),
		Console: t.Console,
	}
	if t.Console != "" {
		r.Lines = "1 line"
		if n := strings.Count(t.Console, "\n") + 1; n > 1 {
			r.Lines = fmt.Sprintf("%d lines", n)
		}
	}
	if r.Outcome == unwatched {
		r.Style = "" // not the colour of a miss
	}
	if n, ok := analysis.Delivered.Of(t); ok {
		r.Events = strconv.FormatFloat(n, 'f', 0, 64)
	}
	if t.Class != "" {
		r.Class = t.Class
		if t.Scope != "" {
			r.Class += ", " + t.Scope
		}
	}
	if ms, ok := analysis.DetectTime.Of(t); ok {
		r.Detect = strconv.FormatFloat(ms, 'f', 3, 64)
	}
	if x, ok := analysis.Progress.Of(t); ok {
		r.Progress = strconv.FormatFloat(x, 'f', 3, 64)
	}
	if t.Recovered != nil {
		r.Recovered = "no"
		if *t.Recovered {
			r.Recovered = "yes"
		}
	}
	return r
}

// observed returns the findings of the observers in the trial.
func observed(t *results.Trial) []string {
	var all []string
	for _, f := range t.Findings {
		text := "the guest's own " + f.Observer + " detector: "
		switch {
		case f.AtNS != nil:
			text += fmt.Sprintf("reported %.3f s after the fault", analysis.Seconds(*f.AtNS))
		case !f.Armed:
			text += "not there, or off"
		default:
			text += fmt.Sprintf("no report in %.1f s", analysis.Seconds(f.WatchedNS))
		}
		if f.FalseAlarms > 0 {
			text += fmt.Sprintf("; %d without a fault", f.FalseAlarms)
		}
		all = append(all, text)
	}
	return all
}

// throughput is how many trials a session ran an hour.
func throughput(s results.Session) string {
	text := fmt.Sprintf("%s in %.0f s with %d at a time on %s", analysis.Count(s.Trials, "trial"), s.WallSec, s.Jobs,
		analysis.Count(s.CPUs, "CPU"))
	if s.WallSec > 0 {
		perHour := 3600 * float64(s.Trials) / s.WallSec
		text += fmt.Sprintf(": %.0f an hour, %.0f for each CPU in use", perHour, perHour/float64(max(1, min(s.Jobs, s.CPUs))))
	}
	if s.CPUSec > 0 && s.Trials > 0 {
		text += fmt.Sprintf("; %.1f s of processor time a trial, or %.0f trials an hour and CPU that does nothing else",
			s.CPUSec/float64(s.Trials), 3600*float64(s.Trials)/s.CPUSec)
	}
	return text
}

// provenance is everything that can change a number, and how long the run took.
func provenance(m *results.Manifest) []pair {
	ps := []pair{
		{"run", m.RunID},
		{"suite", m.Suite.Name + ", sha256 " + m.Suite.SHA256},
		{"seed", strconv.FormatUint(m.Seed, 10)},
		{"host", m.Host.Kind + ": " + m.Host.Description},
		{"hangbench", m.Versions.Hangbench},
		{"go", m.Versions.Go},
	}
	for _, name := range slices.Sorted(maps.Keys(m.Versions.Packages)) {
		ps = append(ps, pair{name, m.Versions.Packages[name]})
	}
	ps = append(ps, pair{"started", m.Started.UTC().Format(time.RFC3339)})
	if !m.Ended.IsZero() {
		ps = append(ps, pair{"ended", m.Ended.UTC().Format(time.RFC3339)})
	}
	var wall float64
	for _, sec := range m.TrialWallSec {
		wall += sec
	}
	if wall > 0 {
		ps = append(ps, pair{"wall time of trials", fmt.Sprintf("%.1f s in all", wall)})
	}
	for _, s := range m.Sessions {
		ps = append(ps, pair{"throughput", throughput(s)})
	}
	for _, name := range slices.Sorted(maps.Keys(m.Bench)) {
		ps = append(ps, pair{name, strconv.FormatFloat(m.Bench[name], 'g', -1, 64)})
	}
	return ps
}
