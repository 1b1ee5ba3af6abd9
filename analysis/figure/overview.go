package figure

import (
	"fmt"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
)

// point is the value of one trial.
type point struct {
	trial int
	value float64
}

func values(points []point) []float64 {
	xs := make([]float64, len(points))
	for i, p := range points {
		xs[i] = p.value
	}
	return xs
}

// leftShare is the share of the page's width that the left panel has.
const leftShare = 0.54

// overview draws two panels: on the left the EPT violations of every cell, on the right
// the detection times of every fault with a monitor. Without such a fault the left panel
// has the whole page.
func overview(set *analysis.Set) (*Figure, error) {
	var bars []bar
	var rows []row
	if len(set.Cells) == 0 {
		return nil, nil // there are faults of unknown effect only
	}
	invalid := 0
	for _, c := range set.Cells {
		invalid += c.Counts.Invalid
		if c.Counts.Valid == 0 {
			continue
		}
		bars = append(bars, newBar(c))
		if c.Fault && c.Watched() {
			rows = append(rows, newRow(c))
		}
	}
	return &Figure{
		says:   overviewCaption(bars, rows, invalid),
		values: overviewValues(set.Host, bars, rows),
		height: layoutBars(bars).height(9),
		paint: func(c draw.Canvas) {
			if len(rows) == 0 {
				drawBars(c, bars)
				return
			}
			split := c.Min.X + (c.Max.X-c.Min.X)*leftShare
			left, right := c, c
			left.Max.X = split - 6
			right.Min.X = split + 6
			drawBars(left, bars)
			drawRows(right, rows)
		},
	}, nil
}

func overviewCaption(bars []bar, rows []row, invalid int) string {
	var b strings.Builder
	if len(rows) > 0 {
		b.WriteString("Left: ")
	}
	b.WriteString("EPT violations of a trial between attach and detach of the monitor, as traced by the " +
		"hypervisor. A bar is as long as the median over the valid trials; its parts share it like the classes share " +
		"the sum over these trials. A dot is one trial.\n")
	for _, c := range analysis.EPTClasses() {
		fmt.Fprintf(&b, "  %s: %s.\n", c.Name, c.Meaning)
	}
	if len(rows) > 0 {
		b.WriteString("\nRight: detection time T_D, from fault to verdict, of faults with a monitor. A dot is one detected " +
			"trial, the line their median; k/n counts detected of valid trials. A cross is a miss: no verdict came before " +
			"the deadline, so T_D is censored there and enters no median.\n")
	} else {
		b.WriteString("\nThere is no valid trial of a fault with a monitor, so there are no detection times.\n")
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "  %s, %s: %s.\n", r.cell.Title(), r.cell.Label, r.summary())
	}
	trials := 0
	for _, x := range bars {
		trials = max(trials, len(x.points))
	}
	if says := thinned(trials); says != "" {
		b.WriteString("\n" + says)
	}
	fmt.Fprintf(&b, "\nInvalid trials, left out: %d.\n", invalid)
	return b.String()
}

// overviewValues has a row for each part of a bar, median, dot and miss.
func overviewValues(host string, bars []bar, rows []row) [][]string {
	all := [][]string{{"host", "panel", "scenario", "arm", "mark", "trial", "value", "unit"}}
	for _, b := range bars {
		add := func(mark, trial string, x float64) {
			all = append(all, []string{host, "violations", b.cell.Title(), b.cell.Label, mark, trial, analysis.Number(x),
				"violations"})
		}
		add("median", "", b.length)
		for _, p := range b.parts {
			add("part "+p.class, "", p.length)
		}
		for _, p := range b.points {
			add("trial", strconv.Itoa(p.trial), p.value)
		}
	}
	for _, r := range rows {
		add := func(mark, trial string, x float64) {
			all = append(all, []string{host, "detection", r.cell.Title(), r.cell.Label, mark, trial, analysis.Number(x), "ms"})
		}
		if len(r.seen) > 0 {
			add("median", "", r.median)
		}
		for _, p := range r.seen {
			add("detected", strconv.Itoa(p.trial), p.value)
		}
		for _, p := range r.missed {
			add("missed at deadline", strconv.Itoa(p.trial), p.value)
		}
	}
	return all
}
