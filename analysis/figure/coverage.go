package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// square counts the trials of one fault with one arm.
type square struct{ detected, right, valid, invalid int }

// grid is a square for each fault and arm that was tried.
type grid struct {
	faults  []string // titles; faults of one class stand together
	arms    []string // sorted
	class   map[string]string
	squares map[[2]string]*square // by fault and arm
}

// coverage draws how many hangs of every fault were detected by every arm.
func coverage(set *analysis.Set) (*Figure, error) {
	if len(set.Swept()) > 0 {
		return nil, nil // a column for each setting would not be readable
	}
	g := grid{class: make(map[string]string), squares: make(map[[2]string]*square)}
	f := &Figure{
		says: "Faults by the class that is right for them, and mechanisms. k/n: detected of valid trials; the fill is the " +
			"share that was also called by its class, and a number below k/n is how many of the k were. A cross: no valid " +
			"trial; an empty place: not tried. The exact intervals of Clopper and Pearson are in the table beside this " +
			"figure.\n",
		values: [][]string{{"host", "scenario", "expected_class", "arm", "valid", "invalid", "detected", "right",
			"detected_ci_lo", "detected_ci_hi"}},
	}
	for _, c := range set.Cells {
		if !c.Fault || !c.Watched() {
			continue
		}
		if !slices.Contains(g.faults, c.Title()) {
			g.faults = append(g.faults, c.Title())
			g.class[c.Title()] = c.Expected()
		}
		if !slices.Contains(g.arms, c.Label) {
			g.arms = append(g.arms, c.Label)
		}
		q := &square{c.Counts.Detected, c.Right(), c.Counts.Valid, c.Counts.Invalid}
		g.squares[[2]string{c.Title(), c.Label}] = q
		row := []string{set.Host, c.Title(), c.Expected(), c.Label}
		for _, n := range []int{q.valid, q.invalid, q.detected, q.right} {
			row = append(row, strconv.Itoa(n))
		}
		if iv, err := stats.ClopperPearson(q.detected, q.valid, level); err == nil {
			row = append(row, analysis.Number(iv.Lo), analysis.Number(iv.Hi))
		} else { // no valid trial
			row = append(row, "", "")
		}
		f.values = append(f.values, row)
	}
	if len(g.faults) == 0 {
		return nil, nil
	}
	slices.Sort(g.arms)
	slices.SortStableFunc(g.faults, func(a, b string) int { return strings.Compare(g.class[a], g.class[b]) })
	_, top := g.margins()
	f.height = 20 + top + squarePitch*vg.Length(len(g.faults)) + 24
	f.paint = g.draw
	return f, nil
}

const squarePitch = vg.Length(22) // height of a row of squares

// nameLimit is the greatest length of the name of a fault or arm.
const nameLimit = vg.Length(150)

// name is the label of a row.
func (g *grid) name(fault string) string {
	sty := textStyle(textSize, black, 0, 0)
	if g.class[fault] == "" {
		return cut(sty, fault, nameLimit)
	}
	class := " (" + g.class[fault] + ")"
	return cut(sty, fault, nameLimit-sty.Width(class)) + class
}

// armName is the label of a column.
func (g *grid) armName(arm string) string {
	return cut(textStyle(textSize, black, 0, 0), arm, nameLimit)
}

// margins returns the space that the names of faults and arms take. Those of arms
// are written at 45 degrees.
func (g *grid) margins() (side, top vg.Length) {
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for _, s := range g.faults {
		side = max(side, sty.Width(g.name(s)))
	}
	for _, a := range g.arms {
		top = max(top, sty.Width(g.armName(a)))
	}
	return side + 8, top*0.71 + 12
}

func (g *grid) draw(c draw.Canvas) {
	subtitle(c, "Faults detected, by fault (its class) and mechanism")
	side, top := g.margins()
	cell := min((c.Max.X-c.Min.X-side-top)/vg.Length(len(g.arms)), 46)
	left, upper := c.Min.X+side, c.Max.Y-20-top
	slanted := textStyle(textSize, black, text.XLeft, text.YBottom)
	slanted.Rotation = math.Pi / 4
	for i, a := range g.arms {
		c.FillText(slanted, vg.Point{X: left + (vg.Length(i)+0.42)*cell, Y: upper + 2}, g.armName(a))
	}
	names := textStyle(textSize, black, text.XRight, text.YCenter)
	for j, s := range g.faults {
		y := upper - vg.Length(j)*squarePitch
		c.FillText(names, vg.Point{X: left - 5, Y: y - squarePitch/2}, g.name(s))
		for i, a := range g.arms {
			x := left + vg.Length(i)*cell
			if q := g.squares[[2]string{s, a}]; q != nil {
				drawSquare(c, q, x+0.7, y-squarePitch+0.7, x+cell-0.7, y-0.7)
			}
		}
	}
	drawShades(c)
}

// shade is the fill of a share: from near white to dark blue, in one hue, so that it
// can be read by its lightness alone.
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

// drawShades is the legend of the fill.
func drawShades(c draw.Canvas) {
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	const steps, breadth = 20, vg.Length(4)
	label := "called by its class: none"
	c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Min.Y + 6}, label)
	x := c.Min.X + sty.Width(label) + 4
	for i := range steps {
		x0 := x + vg.Length(i)*breadth
		rectangle(&c, shade(float64(i)/(steps-1)), x0, c.Min.Y+2, x0+breadth, c.Min.Y+10)
	}
	c.FillText(sty, vg.Point{X: x + steps*breadth + 4, Y: c.Min.Y + 6}, "all;  k/n: detected of valid trials")
}
