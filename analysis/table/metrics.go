package table

import (
	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// Metrics is the table of every metric of every cell.
func Metrics(set *analysis.Set) *Table {
	t := table("Metrics", TextColumn("metric", "metric"), TextColumn("unit", "unit"), SpreadColumn("value", "value"),
		TextColumn("better", "better"))
	var notes []string
	for _, m := range analysis.Metrics() {
		shown := false
		for _, c := range set.Cells {
			var xs []float64
			for i := range c.Trials {
				if x, ok := m.Value(&c.Trials[i]); ok {
					xs = append(xs, x)
				}
			}
			if len(xs) == 0 {
				continue
			}
			shown = true
			value := Spread(stats.Summarize(xs, Level))
			if m.Assume == analysis.Rate {
				k := 0
				for _, x := range xs {
					k += int(x)
				}
				value = share(k, len(xs))
			}
			t.Add(Text(c.Title()), Text(c.Label), Text(m.Name), Text(string(m.Unit)), value, Text(m.Better.String()))
		}
		if shown {
			notes = append(notes, m.Name+": "+m.Meaning+".")
		}
	}
	t.Notes = append(notes, "Shares of trials: k/n with the exact 95% interval of Clopper and Pearson.")
	t.Notes = spreadNotes(t.Notes)
	return t
}

// share is a cell of k of n trials in a column of medians: the share takes the place of
// the median.
func share(k, n int) Cell {
	c := Rate(k, n)
	return Cell{c.Text, []string{c.CSV[1], analysis.Number(float64(k) / float64(n)), "", "", c.CSV[2], c.CSV[3],
		analysis.Number(Level)}}
}
