package figure

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// square is one cell of the heat map.
type square struct{ detected, right, valid, invalid int }

// coverage draws what was detected of every fault by every arm.
func coverage(set *analysis.Set) (*Figure, error) {
	type place struct{ scenario, arm string }
	squares := make(map[place]*square)
	var scenarios, arms []string
	class := make(map[string]string)
	f := &Figure{
		Name: "coverage", Title: "Faults detected and called rightly, by fault and mechanism", width: width,
		rows: [][]string{{"host", "scenario", "expected_class", "arm", "valid", "invalid", "detected", "right", "detected_ci_lo", "detected_ci_hi"}},
	}
	for _, c := range set.Cells {
		if !c.Fault || !c.Watched() {
			continue
		}
		if !slices.Contains(scenarios, c.Title()) {
			scenarios = append(scenarios, c.Title())
			class[c.Title()] = c.Expected()
		}
		if !slices.Contains(arms, c.Label) {
			arms = append(arms, c.Label)
		}
		q := &square{c.Counts.Detected, c.Right(), c.Counts.Valid, c.Counts.Invalid}
		squares[place{c.Title(), c.Label}] = q
		row := []string{set.Host, c.Title(), c.Expected(), c.Label}
		for _, n := range []int{q.valid, q.invalid, q.detected, q.right} {
			row = append(row, strconv.Itoa(n))
		}
		if iv, err := stats.ClopperPearson(q.detected, q.valid, level); err == nil {
			row = append(row, number(iv.Lo), number(iv.Hi))
		} else {
			row = append(row, "", "")
		}
		f.rows = append(f.rows, row)
	}
	if len(scenarios) == 0 {
		return nil, nil
	}
	slices.Sort(arms)
	// Faults of one class stand together.
	slices.SortStableFunc(scenarios, func(a, b string) int { return strings.Compare(class[a], class[b]) })
	f.caption = fmt.Sprintf("%s.\n\nFaults by the class that is right for them, and mechanisms. k/n: detected of valid trials; the fill is the share that was also "+
		"called by its class, and a number below k/n is how many of the k were. A cross: no valid trial; an empty place: not tried. "+
		"The exact intervals of Clopper and Pearson are in the table beside this figure.\n", set.Caption())
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	name := func(s string) string {
		if class[s] == "" {
			return s
		}
		return s + " (" + class[s] + ")"
	}
	var side, top vg.Length
	for _, s := range scenarios {
		side = max(side, sty.Width(name(s)))
	}
	for _, a := range arms {
		top = max(top, sty.Width(a))
	}
	const pitch = vg.Length(22)
	side, top = side+8, top*0.71+12 // names of arms are at half a right angle
	f.height = 20 + top + pitch*vg.Length(len(scenarios)) + 24
	f.paint = func(c draw.Canvas) {
		c = sheet(c, set.Caption())
		c.FillText(textStyle(textSize, grey, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y - 13}, "Faults detected, by fault (its class) and mechanism")
		cell := min((c.Max.X-c.Min.X-side-top)/vg.Length(len(arms)), 46)
		left, upper := c.Min.X+side, c.Max.Y-20-top
		slanted := textStyle(textSize, black, text.XLeft, text.YBottom)
		slanted.Rotation = 3.14159265 / 4
		for i, a := range arms {
			c.FillText(slanted, vg.Point{X: left + (vg.Length(i)+0.42)*cell, Y: upper + 2}, a)
		}
		for j, s := range scenarios {
			y := upper - vg.Length(j)*pitch
			right := sty
			right.XAlign = text.XRight
			c.FillText(right, vg.Point{X: left - 5, Y: y - pitch/2}, name(s))
			for i, a := range arms {
				x := left + vg.Length(i)*cell
				q := squares[place{s, a}]
				if q == nil {
					continue
				}
				drawSquare(c, q, x+0.7, y-pitch+0.7, x+cell-0.7, y-0.7)
			}
		}
		drawScale(c)
	}
	return f, nil
}

// shade is the fill of a share: from near white to dark blue, one hue, so that it
// is read by its lightness alone.
func shade(share float64) color.NRGBA {
	mix := func(a, b uint8) uint8 { return uint8(float64(a) + share*(float64(b)-float64(a)) + 0.5) }
	return color.NRGBA{mix(245, 0), mix(236, 84), mix(220, 136), 255}
}

func drawSquare(c draw.Canvas, q *square, x0, y0, x1, y1 vg.Length) {
	centre := vg.Point{X: (x0 + x1) / 2, Y: (y0 + y1) / 2}
	sty := textStyle(textSize, black, text.XCenter, text.YCenter)
	pts := []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}, {X: x0, Y: y0}}
	if q.valid == 0 {
		c.StrokeLines(guideLine, pts)
		c.StrokeLine2(guideLine, x0, y0, x1, y1)
		c.StrokeLine2(guideLine, x0, y1, x1, y0)
		return
	}
	share := float64(q.right) / float64(q.valid)
	c.FillPolygon(shade(share), pts)
	c.StrokeLines(draw.LineStyle{Color: lightGrey, Width: 0.4}, pts)
	if share > 0.5 {
		sty.Color = white
	}
	if q.right == q.detected {
		c.FillText(sty, centre, fmt.Sprintf("%d/%d", q.detected, q.valid))
		return
	}
	c.FillText(sty, vg.Point{X: centre.X, Y: centre.Y + 4.5}, fmt.Sprintf("%d/%d", q.detected, q.valid))
	sty.Font.Size--
	c.FillText(sty, vg.Point{X: centre.X, Y: centre.Y - 4.5}, fmt.Sprintf("%d right", q.right))
}

// drawScale is the legend of the fill.
func drawScale(c draw.Canvas) {
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	const steps, breadth = 20, vg.Length(4)
	label := "called by its class: none"
	c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Min.Y + 6}, label)
	x := c.Min.X + sty.Width(label) + 4
	for i := range steps {
		x0 := x + vg.Length(i)*breadth
		c.FillPolygon(shade(float64(i)/(steps-1)), []vg.Point{{X: x0, Y: c.Min.Y + 2}, {X: x0 + breadth, Y: c.Min.Y + 2}, {X: x0 + breadth, Y: c.Min.Y + 10}, {X: x0, Y: c.Min.Y + 10}})
	}
	c.FillText(sty, vg.Point{X: x + steps*breadth + 4, Y: c.Min.Y + 6}, "all;  k/n: detected of valid trials")
}
