package figure

import (
	"fmt"
	"image/color"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// The tests of this file and of its neighbours read a drawing as a reader does: they find
// the labels of its axes and its legend, and take values, colours and names from the marks
// by them. What they read must be what the trials say.

// labelled is a row of a drawing: its label, and what is drawn beside it.
type labelled struct {
	title string // the scenario's name above it
	label string
	marks *recorder
}

// rows finds the rows with these titles and labels, from the top down. They are above the
// labels of the x axis.
func rows(t *testing.T, r *recorder, titles, labels []string) []labelled {
	t.Helper()
	_, ticks := r.xAxis(t, false)
	if len(ticks) == 0 {
		t.Fatal("there is no axis")
	}
	foot := r.numbers()
	above := foot[len(foot)-1].bounds().Max.Y
	var all []labelled
	var at []vg.Length
	title := ""
	for _, m := range r.texts(func(string) bool { return true }) {
		if m.pts[0].Y < above {
			continue
		}
		switch {
		case slices.Contains(labels, m.text):
			all = append(all, labelled{title: title, label: m.text})
			at = append(at, m.centre().Y)
		case slices.Contains(titles, m.text):
			title = m.text
		}
	}
	if len(all) != len(labels) {
		t.Fatalf("%d rows are labelled, want %d", len(all), len(labels))
	}
	half := vg.Length(20)
	for i := 1; i < len(at); i++ {
		half = min(half, (at[i-1]-at[i])/2)
	}
	for i := range all {
		if all[i].label != labels[i] || titles != nil && all[i].title != titles[i] {
			t.Errorf("row %d is %q of %q, want %q of %q", i, all[i].label, all[i].title, labels[i], titles[i])
		}
		all[i].marks = r.in(0, at[i]-half, r.w, at[i]+half)
	}
	return all
}

// discs reads the dots of a colour on a horizontal axis. Each must have a ring of the
// colour of edge.
func (r *recorder) discs(t *testing.T, s scale, fill, edge color.Color) []float64 {
	t.Helper()
	var xs []float64
	for _, m := range r.all("disc", fill) {
		xs = append(xs, s.value(m.pts[0].X))
		if m.radius != markSize {
			t.Errorf("a dot has the radius %g", m.radius)
		}
		if !slices.ContainsFunc(r.all("ring", edge), func(o mark) bool {
			return o.pts[0] == m.pts[0] && o.radius == m.radius
		}) {
			t.Errorf("the dot at %g has no ring", xs[len(xs)-1])
		}
	}
	return xs
}

// crosses reads the crosses of a colour on a horizontal axis.
func (r *recorder) crosses(s scale, c color.Color) []float64 {
	var xs []float64
	for _, m := range r.all("line", c) {
		if up := m.pts[1].Y > m.pts[0].Y; up && m.width == 0.5 { // one of its two strokes
			xs = append(xs, s.value(m.centre().X))
		}
	}
	return xs
}

// uprights reads the vertical lines of a colour and width on a horizontal axis.
func (r *recorder) uprights(s scale, c color.Color, width vg.Length) []float64 {
	var xs []float64
	for _, m := range r.all("line", c) {
		if m.width == width && len(m.pts) == 2 && m.pts[0].X == m.pts[1].X {
			xs = append(xs, s.value(m.pts[0].X))
		}
	}
	return xs
}

// stack reads a stacked bar: the end of each part, by its colour, from the left.
func (r *recorder) stacked(t *testing.T, s scale) (colors []color.NRGBA, ends []float64) {
	t.Helper()
	from := 0.0
	for _, m := range r.marks {
		if m.kind != "fill" {
			continue
		}
		b := m.bounds()
		if got := s.value(b.Min.X); !near(got, from, 1e-6*(1+from)) {
			t.Errorf("a part of a bar begins at %g, the one before ends at %g", got, from)
		}
		from = s.value(b.Max.X)
		colors, ends = append(colors, m.color), append(ends, from)
		if centre := m.centre(); !near(float64(b.Max.Y-b.Min.Y), 2*float64(b.Max.Y-centre.Y), 1e-6) {
			t.Errorf("a bar from %g to %g is not in the middle of its row", b.Min.Y, b.Max.Y)
		}
	}
	return colors, ends
}

// guidedX fails unless each label of a horizontal axis, but for the one at its lower end,
// has a guide.
func (r *recorder) guidedX(t *testing.T, ticks []tick) {
	t.Helper()
	for _, k := range ticks[1:] {
		if !slices.ContainsFunc(r.all("line", lightGrey), func(m mark) bool {
			return near(float64(m.pts[0].X), float64(k.at), 0.01) && m.pts[0].X == m.pts[1].X && m.pts[1].Y-m.pts[0].Y > 20
		}) {
			t.Errorf("there is no guide at %g", k.value)
		}
	}
}

// guidedY is guidedX for a vertical axis.
func (r *recorder) guidedY(t *testing.T, ticks []tick) {
	t.Helper()
	for _, k := range ticks[1:] {
		if !slices.ContainsFunc(r.all("line", lightGrey), func(m mark) bool {
			return near(float64(m.pts[0].Y), float64(k.at), 0.01) && m.pts[0].Y == m.pts[1].Y && m.pts[1].X-m.pts[0].X > 20
		}) {
			t.Errorf("there is no guide at %g", k.value)
		}
	}
}

// wantStack computes the bar of a cell from its trials: a part for each class of EPT
// violations that occurs, of the colour that the legend shows for it.
func wantStack(
	t *testing.T, legend *recorder, c *analysis.Cell, length float64,
) (colors []color.NRGBA, ends []float64) {
	t.Helper()
	counts := make(map[string]float64)
	sum := 0.0
	for _, tr := range c.Trials {
		if tr.Outcome == results.Invalid {
			continue
		}
		e := tr.EPT
		for class, n := range map[string]uint64{"permission": e.Permission, "lazy": e.Lazy, "mmio": e.MMIO,
			"superpage": e.Superpage, "suppressed": e.Suppressed, "residual": e.Residual} {
			counts[class] += float64(n)
			sum += float64(n)
		}
	}
	to := 0.0
	for _, class := range []string{"permission", "lazy", "mmio", "superpage", "suppressed", "residual"} {
		if counts[class] > 0 {
			to += length * counts[class] / sum
			colors, ends = append(colors, legend.key(t, class)[0].color), append(ends, to)
		}
	}
	return colors, ends
}

func sameStack(t *testing.T, what string, r *recorder, s scale, colors []color.NRGBA, ends []float64) {
	t.Helper()
	gotColors, gotEnds := r.stacked(t, s)
	if !slices.Equal(gotColors, colors) {
		t.Errorf("%s: the colours are %v, want %v", what, gotColors, colors)
	}
	sameValues(t, what+": ends of parts", gotEnds, ends)
}

func TestReadOverview(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"few", "many", "wrong", "near", "twice", "drivers", "classes", "blind", "controls",
		"vcpus", "work", "unwatched", "hollow", "faults"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := theShape(t, name)
			r := record(t, s.figure(t, "overview"))
			watched := func(c *analysis.Cell) bool { return c.Counts.Valid > 0 && c.Fault && c.Watched() }
			if !slices.ContainsFunc(s.set.Cells, watched) {
				readBars(t, s.set, r) // they have the whole page
				if n := len(r.texts(func(s string) bool { return strings.Contains(s, "Detection") })); n > 0 {
					t.Errorf("%d texts about detection times that there are not", n)
				}
				return
			}
			split := 4 + 494*vg.Length(leftShare)
			readBars(t, s.set, r.in(0, 0, split, r.h))
			readRows(t, s.set, r.in(split, 0, r.w, r.h-14))
		})
	}
}

// readBars reads the left panel.
func readBars(t *testing.T, set *analysis.Set, r *recorder) {
	var titles, labels []string
	var cells []*analysis.Cell
	for _, c := range set.Cells {
		if c.Counts.Valid > 0 {
			titles, labels, cells = append(titles, c.Title()), append(labels, c.Label), append(cells, c)
		}
	}
	r.text(t, "EPT violations per trial, attach to detach")
	axis, ticks := r.xAxis(t, false)
	r.guidedX(t, ticks)
	trial := &recorder{marks: r.key(t, "trial")}
	for i, row := range rows(t, r, titles, labels) {
		what := cells[i].Title() + ", " + labels[i]
		var totals []float64
		for _, tr := range cells[i].Valid() {
			totals = append(totals, float64(tr.EPT.Total))
		}
		sameValues(t, what+": dots", row.marks.discs(t, axis, trial.marks[0].color, trial.marks[1].color), totals)
		median, _ := stats.Median(totals)
		colors, ends := wantStack(t, r, cells[i], median)
		sameStack(t, what, row.marks, axis, colors, ends)
	}
}

// readRows reads the right panel.
func readRows(t *testing.T, set *analysis.Set, r *recorder) {
	var titles, labels []string
	var cells []*analysis.Cell
	most, deadline := 0.0, 0.0
	misses := 0
	for _, c := range set.Cells {
		if c.Counts.Valid == 0 || !c.Fault || !c.Watched() {
			continue
		}
		titles = append(titles, c.Title())
		labels = append(labels, fmt.Sprintf("%s  %d/%d", c.Label, c.Counts.Detected, c.Counts.Valid))
		cells = append(cells, c)
		for _, tr := range c.Valid() {
			if tr.DetectNS != nil {
				most = max(most, float64(*tr.DetectNS)/1e6)
			} else if tr.Outcome == results.Missed {
				deadline = max(deadline, float64(tr.DeadlineNS)/1e6)
				misses++
			}
		}
	}
	title := "Detection time"
	if titles[0] == titles[len(titles)-1] {
		title += " of " + titles[0]
		titles = nil
	}
	r.text(t, title)
	r.text(t, fmt.Sprintf("T_D (ms); k/n detected, %d missed", misses))
	axis, ticks := r.xAxis(t, false)
	r.guidedX(t, ticks)
	strip := slices.ContainsFunc(r.marks, func(m mark) bool { return m.text == "deadline" })
	if strip != (misses > 0 && most > 0 && deadline > 2*most) {
		t.Errorf("the axis is broken: %v", strip)
	}
	if strip {
		at := axis.value(r.text(t, "deadline").centre().X)
		broken := r.uprights(axis, grey, thin)
		if len(broken) != 1 || broken[0] < most*1.05 || broken[0] > at*0.95 {
			t.Errorf("the axis is broken at %v, the last detection is at %g, the strip at %g", broken, most, at)
		}
	}
	detected := r.key(t, "detected")
	median := r.key(t, "median")
	missed := r.texts(func(s string) bool { return strings.HasPrefix(s, "missed (censored at ") })
	if (len(missed) == 1) != (misses > 0) {
		t.Errorf("%d keys of misses", len(missed))
	} else if misses > 0 && r.key(t, missed[0].text)[0].color != toNRGBA(missMark.Color) {
		t.Errorf("the key of misses is %v", r.key(t, missed[0].text))
	}
	for i, row := range rows(t, r, titles, labels) {
		what := cells[i].Title() + ", " + labels[i]
		var seen, missed []float64
		for _, tr := range cells[i].Valid() {
			switch tr.Outcome {
			case results.Detected:
				seen = append(seen, float64(*tr.DetectNS)/1e6)
			case results.Missed:
				at := float64(tr.DeadlineNS) / 1e6
				if strip {
					at = axis.value(r.text(t, "deadline").centre().X)
				}
				missed = append(missed, at)
			}
		}
		sameValues(t, what+": detected", row.marks.discs(t, axis, detected[0].color, detected[1].color), seen)
		sameValues(t, what+": missed", row.marks.crosses(axis, missMark.Color), missed)
		var medians []float64
		if m, ok := stats.Median(seen); ok {
			medians = append(medians, m)
		}
		sameValues(t, what+": median", row.marks.uprights(axis, median[0].color, median[0].width), medians)
	}
}

// TestReadSpread reads the figures of rows with whiskers.
func TestReadSpread(t *testing.T) {
	t.Parallel()
	for name, measure := range map[string]analysis.Measure{
		"violations": analysis.PerSecond(analysis.EPTTotal.Of), "overhead": analysis.Overhead.Of,
	} {
		for _, shape := range []string{"few", "many", "classes", "controls", "work", "work-few", "work-stopped"} {
			s := theShape(t, shape)
			if i := slices.IndexFunc(s.figures, func(f *Figure) bool { return f.Name == name }); i >= 0 {
				t.Run(name+"-"+shape, func(t *testing.T) {
					t.Parallel()
					readSpread(t, s.set, record(t, s.figures[i]), measure, name == "overhead")
				})
			}
		}
	}
}

func readSpread(t *testing.T, set *analysis.Set, r *recorder, measure analysis.Measure, overhead bool) {
	var titles, labels []string
	var cells []*analysis.Cell
	for _, c := range set.Cells {
		if len(c.Values(measure)) == 0 || !overhead && c.Mechanism == "none" &&
			!slices.ContainsFunc(c.Values(analysis.EPTTotal.Of), func(x float64) bool { return x > 0 }) {
			continue
		}
		titles, cells = append(titles, c.Title()), append(cells, c)
		labels = append(labels, fmt.Sprintf("%s  n=%d", c.Label, len(c.Values(measure))))
	}
	axis, ticks := r.xAxis(t, false)
	r.guidedX(t, ticks)
	trial := r.key(t, "trial")
	for i, row := range rows(t, r, titles, labels) {
		what := cells[i].Title() + ", " + labels[i]
		values := cells[i].Values(measure)
		sum := stats.Summarize(values, 0.95)
		sameValues(t, what+": dots", row.marks.discs(t, axis, trial[0].color, trial[1].color), values)
		sameValues(t, what+": median", row.marks.uprights(axis, black, medianLine.Width), []float64{sum.Median})
		lo, hi, legend := sum.Min, sum.Max, "range, n < 6"
		if sum.CI != nil {
			lo, hi, legend = sum.CI.Lo, sum.CI.Hi, "95% interval"
		}
		if sum.N > 1 {
			readWhisker(t, what, row.marks, axis, r.key(t, legend)[0].color, lo, hi)
		}
		zeros := row.marks.uprights(axis, breakLine.Color, breakLine.Width)
		if overhead {
			sameValues(t, what+": line of zero", zeros, []float64{0})
		} else if len(zeros) > 0 {
			t.Errorf("%s has a line of zero", what)
		}
		if overhead {
			if colors, _ := row.marks.stacked(t, axis); len(colors) > 0 {
				t.Errorf("%s has a bar", what)
			}
			continue
		}
		colors, ends := wantStack(t, r, cells[i], sum.Median)
		sameStack(t, what, row.marks, axis, colors, ends)
	}
}

// readWhisker fails unless there is one horizontal interval of that colour with its two
// ends.
func readWhisker(t *testing.T, what string, r *recorder, axis scale, c color.NRGBA, lo, hi float64) {
	t.Helper()
	var got []mark
	for _, m := range r.all("line", c) {
		if m.width == whiskerWidth && m.pts[0].Y == m.pts[1].Y {
			got = append(got, m)
		}
	}
	if len(got) != 1 {
		t.Errorf("%s has %d intervals", what, len(got))
		return
	}
	from, to := axis.value(got[0].pts[0].X), axis.value(got[0].pts[1].X)
	sameValues(t, what+": interval", []float64{from, to}, []float64{lo, hi})
	ends := r.uprights(axis, c, whiskerWidth)
	sameValues(t, what+": ends of the interval", ends, []float64{lo, hi})
}
