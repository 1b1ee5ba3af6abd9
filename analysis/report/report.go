package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"hangbench/analysis"
	"hangbench/analysis/figure"
	"hangbench/analysis/table"
	"hangbench/results"
)

//go:embed page.html
var pageText string

// File is the name of the page in the folder given to Write.
const File = "report.html"

// Write writes the run's page into dir and returns its path.
func Write(dir string, run *results.Run) (string, error) {
	var buf bytes.Buffer
	if err := Render(&buf, run); err != nil {
		return "", err
	}
	path := filepath.Join(dir, File)
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	return path, nil
}

// Render writes the run's page. A run without a trial has one too: it says so.
func Render(w io.Writer, run *results.Run) error {
	p := page{
		Title:      "hangbench " + run.Manifest.RunID,
		Caption:    "no trials yet",
		Notices:    notices(run),
		Provenance: provenance(&run.Manifest),
		Suite:      run.Manifest.Suite.Text,
	}
	if len(run.Trials) > 0 {
		set, err := analysis.Group(run.Trials)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		p.Caption = set.Caption()
		p.Tables = []*table.Table{table.Detection(set), table.Violations(set)}
		if p.Figure, p.FigureText, err = drawing(run.Trials); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		for i := range run.Trials {
			p.Trials = append(p.Trials, newTrialRow(set, &run.Trials[i]))
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

// page is what page.html shows.
type page struct {
	Title      string
	Caption    string
	Notices    []string
	Tables     []*table.Table
	Figure     template.HTML
	FigureText string
	Trials     []trialRow
	Provenance []pair
	Suite      string
}

type pair struct{ Name, Value string }

// notices is what a reader must know before believing a number.
func notices(run *results.Run) []string {
	var ns []string
	m := &run.Manifest
	if m.Interrupted || run.Missing() > 0 {
		ns = append(ns, fmt.Sprintf("The run is not complete: %d of %d planned trials are stored.", len(run.Trials), m.Planned))
	}
	invalid := 0
	for _, t := range run.Trials {
		if t.Outcome == results.Invalid {
			invalid++
		}
	}
	if invalid > 0 {
		ns = append(ns, fmt.Sprintf("%d of %d trials are invalid: their ground truth was not confirmed. They are listed below and enter no number.", invalid, len(run.Trials)))
	}
	for _, bad := range run.Bad {
		ns = append(ns, "Left out: "+bad.Error())
	}
	return append(ns, m.Warnings...)
}

// drawing is the figure as an element to put into the page.
func drawing(trials []results.Trial) (template.HTML, string, error) {
	o, err := figure.NewOverview(trials)
	if err != nil {
		return "", "", err
	}
	var svg bytes.Buffer
	if err := o.WriteSVG(&svg); err != nil {
		return "", "", err
	}
	_, element, ok := bytes.Cut(svg.Bytes(), []byte("<svg "))
	if !ok {
		return "", "", fmt.Errorf("the figure is no SVG")
	}
	// Text in it is escaped by the drawing library, and the test with a
	// hostile record checks it.
	return template.HTML(`<svg role="img" aria-label="EPT violations and detection times; the values are in the tables" ` + string(element)), o.Caption(), nil
}

// trialRow is one trial as text.
type trialRow struct {
	Trial, Block int
	Scenario     string
	Mechanism    string
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
}

func newTrialRow(set *analysis.Set, t *results.Trial) trialRow {
	const none = "–"
	r := trialRow{
		Trial: t.Trial, Block: t.Block, Scenario: analysis.Title(t), Mechanism: set.Label(t), Outcome: string(t.Outcome), Style: string(t.Outcome),
		Class: none, Detect: none, Events: none, Progress: none, Recovered: none,
		Violations: t.EPT.Total, Seed: t.Seed, Reason: t.Reason, Evidence: t.Evidence,
	}
	if t.Outcome == results.Missed && t.Mechanism == "none" {
		r.Outcome, r.Style = "missed (no monitor)", ""
	}
	if n, ok := analysis.Delivered(t); ok {
		r.Events = strconv.FormatFloat(n, 'f', 0, 64)
	}
	if t.Class != "" {
		r.Class = t.Class
		if t.Scope != "" {
			r.Class += ", " + t.Scope
		}
	}
	if ms, ok := analysis.DetectMS(t); ok {
		r.Detect = strconv.FormatFloat(ms, 'f', 3, 64)
	}
	if x, ok := analysis.Progress(t); ok {
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

// provenance is everything that can change a number, and what it cost to get.
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
	if m.Versions.LabImage != "" {
		ps = append(ps, pair{"lab image", m.Versions.LabImage})
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
	for _, name := range slices.Sorted(maps.Keys(m.Bench)) {
		ps = append(ps, pair{name, strconv.FormatFloat(m.Bench[name], 'g', -1, 64)})
	}
	return ps
}
