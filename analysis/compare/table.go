package compare

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"hangbench/analysis"
	"hangbench/analysis/table"
)

// Table returns the comparison as a table, regressions first. Unless all is set, it leaves
// out rows that are the same or unclear.
func (r *Report) Table(all bool) *table.Table {
	t := table.New("Comparison, old against new",
		table.TextColumn("scenario", "scenario"), table.TextColumn("mechanism", "mechanism"),
		table.TextColumn("metric (unit)", "metric"),
		table.NumberColumn("n old", "n_old"), table.NumberColumn("n new", "n_new"),
		table.NumberColumn("old", "old"), table.NumberColumn("new", "new"),
		table.IntervalColumn("change [95% CI]", "change"), table.NumberColumn("p", "p_holm"),
		table.TextColumn("by", "method"), table.TextColumn("verdict", "verdict"),
	)
	t.Flat = true
	rows := slices.Clone(r.Rows)
	slices.SortStableFunc(rows, worstFirst)
	var said []string
	times := make(map[string]int)
	for _, row := range rows {
		if !all && (row.Verdict == Same || row.Verdict == Unclear) {
			continue
		}
		for _, w := range row.Warnings {
			if times[w] == 0 {
				said = append(said, w)
			}
			times[w]++
		}
		verdict := string(row.Verdict)
		if row.Fails {
			verdict = "WORSE"
		}
		t.Add(table.Text(row.Scenario), table.Text(row.Arm), row.metricCell(), table.Int(row.OldN), table.Int(row.NewN),
			row.value(row.Old), row.value(row.New), row.change(), row.p(), table.Text(row.Method), table.Cell{Text: verdict,
				CSV: []string{string(row.Verdict)}})
	}
	t.Notes = append(t.Notes,
		"old, new: median of the trials, for shares of trials the share; change: relative, for shares in percentage points "+
			"(pp).",
		"exact pairs: trials of equal seed in the lab, which differ by nothing but the program, or the Xen; below six "+
			"pairs the interval is the range of all.",
		"pairs: trials of equal seed, median of their ratios, order-statistic interval and sign test; samples: bootstrap "+
			"and Mann-Whitney, for shares Newcombe and Fisher.",
		"p: of no change, adjusted by Holm; WORSE: a regression beyond the tolerance that --fail-on names.",
	)
	for _, w := range said {
		t.Notes = append(t.Notes, fmt.Sprintf("In %d of these rows: %s.", times[w], w))
	}
	return t
}

func (r *Row) metricCell() table.Cell {
	return table.Cell{Text: fmt.Sprintf("%s (%s)", r.Metric, r.Unit), CSV: []string{r.Metric}}
}

func (r *Row) value(x float64) table.Cell {
	return table.Number(x, !math.IsNaN(x), func(x float64) string {
		if r.metric.Assume == analysis.Rate {
			return fmt.Sprintf("%.1f%%", 100*x)
		}
		return strconv.FormatFloat(x, 'g', 5, 64)
	})
}

func (r *Row) change() table.Cell {
	c := table.Cell{Text: "–", CSV: []string{"", "", ""}}
	if math.IsNaN(r.Change) {
		return c
	}
	text := func(x float64) string {
		switch {
		case math.IsInf(x, 0):
			return "∞"
		case r.metric.Assume == analysis.Rate:
			return fmt.Sprintf("%+.1f pp", 100*x)
		}
		return fmt.Sprintf("%+.1f%%", 100*x)
	}
	c.Text = text(r.Change)
	c.CSV[0] = analysis.Number(r.Change)
	if r.CI != nil {
		c.Text += fmt.Sprintf(" [%s, %s]", strings.TrimSuffix(text(r.CI.Lo), " pp"), strings.TrimSuffix(text(r.CI.Hi), " pp"))
		c.CSV[1], c.CSV[2] = analysis.Number(r.CI.Lo), analysis.Number(r.CI.Hi)
	}
	return c
}

func (r *Row) p() table.Cell {
	return table.Number(r.P, !math.IsNaN(r.P), func(p float64) string {
		if p < 0.001 {
			return "<0.001"
		}
		return fmt.Sprintf("%.3f", p)
	})
}

// Answer returns the result of the comparison as one sentence.
func (r *Report) Answer() string {
	fails := 0
	for _, row := range r.Rows {
		if row.Fails {
			fails++
		}
	}
	noun := "regressions"
	if fails == 1 {
		noun = "regression"
	}
	text := fmt.Sprintf("%d %s beyond the tolerance; of %d metrics %d worse, %d better, %d the same, %d unclear",
		fails, noun, len(r.Rows), r.Count(Worse), r.Count(Better), r.Count(Same), r.Count(Unclear))
	switch {
	case r.missingFails:
		text += "; FAILED because the runs cannot be compared as a whole"
	case len(r.Missing) > 0:
		text += "; the runs are not compared as a whole, which is allowed"
	}
	return text
}
