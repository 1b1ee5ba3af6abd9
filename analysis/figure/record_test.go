package figure

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// mark is one element of a drawing, at its place on the page.
type mark struct {
	kind   string // fill, line, disc, ring or text
	color  color.NRGBA
	width  vg.Length   // of a line or ring
	dashes []vg.Length // of a line or ring
	// pts are the corners of a fill or line, the centre of a disc or ring, or the corners
	// of a text from the left end of its baseline on.
	pts    []vg.Point
	radius vg.Length // of a disc or ring
	text   string
	size   vg.Length // of the font
}

// String is the mark as in a golden file.
func (m mark) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%02x%02x%02x", m.kind, m.color.R, m.color.G, m.color.B)
	if m.color.A != 255 {
		fmt.Fprintf(&b, "/%02x", m.color.A)
	}
	if m.kind == "line" || m.kind == "ring" {
		fmt.Fprintf(&b, " w%s", coordinate(m.width))
		for _, d := range m.dashes {
			fmt.Fprintf(&b, "-%s", coordinate(d))
		}
	}
	pts := m.pts
	switch m.kind {
	case "disc", "ring":
		fmt.Fprintf(&b, " r%s", coordinate(m.radius))
	case "text":
		pts = pts[:2] // the baseline
		fmt.Fprintf(&b, " %q s%s", m.text, coordinate(m.size))
	}
	for _, pt := range pts {
		fmt.Fprintf(&b, " %s,%s", coordinate(pt.X), coordinate(pt.Y))
	}
	return b.String()
}

func coordinate(x vg.Length) string {
	s := strconv.FormatFloat(float64(x), 'f', 2, 64)
	s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}

// bounds is the smallest rectangle around the mark.
func (m mark) bounds() vg.Rectangle {
	r := vg.Rectangle{Min: m.pts[0], Max: m.pts[0]}
	for _, pt := range m.pts {
		r.Min = vg.Point{X: min(r.Min.X, pt.X), Y: min(r.Min.Y, pt.Y)}
		r.Max = vg.Point{X: max(r.Max.X, pt.X), Y: max(r.Max.Y, pt.Y)}
	}
	d := m.radius + m.width/2
	return vg.Rectangle{Min: vg.Point{X: r.Min.X - d, Y: r.Min.Y - d}, Max: vg.Point{X: r.Max.X + d, Y: r.Max.Y + d}}
}

// centre is the middle of the mark.
func (m mark) centre() vg.Point {
	b := m.bounds()
	return vg.Point{X: (b.Min.X + b.Max.X) / 2, Y: (b.Min.Y + b.Max.Y) / 2}
}

// same reports whether the mark is of a kind and colour.
func (m mark) same(kind string, c color.Color) bool { return m.kind == kind && m.color == toNRGBA(c) }

func toNRGBA(c color.Color) color.NRGBA { return color.NRGBAModel.Convert(c).(color.NRGBA) }

// recorder is a canvas that records what is drawn on it, as seen on the page.
type recorder struct {
	w, h  vg.Length
	state struct {
		at     [6]float64 // x' = at0 x + at1 y + at2, y' = at3 x + at4 y + at5
		color  color.NRGBA
		width  vg.Length
		dashes []vg.Length
	}
	stack []any
	marks []mark
	pops  int // without a push
}

// record draws a figure.
func record(t *testing.T, f *Figure) *recorder {
	t.Helper()
	r := &recorder{w: width, h: f.height}
	r.state.at, r.state.color, r.state.width = [6]float64{1, 0, 0, 0, 1, 0}, toNRGBA(black), 1
	f.draw(draw.New(r))
	if len(r.stack) != 0 || r.pops != 0 {
		t.Errorf("%s: %d states are left on the canvas, %d too many were taken off", f.Name, len(r.stack), r.pops)
	}
	return r
}

func (r *recorder) Size() (x, y vg.Length)                 { return r.w, r.h }
func (r *recorder) SetLineWidth(w vg.Length)               { r.state.width = w }
func (r *recorder) SetLineDash(d []vg.Length, _ vg.Length) { r.state.dashes = slices.Clone(d) }
func (r *recorder) SetColor(c color.Color)                 { r.state.color = toNRGBA(c) }
func (r *recorder) Rotate(rad float64) {
	sin, cos := math.Sincos(rad)
	r.transform([6]float64{cos, -sin, 0, sin, cos, 0})
}
func (r *recorder) Translate(pt vg.Point) {
	r.transform([6]float64{1, 0, float64(pt.X), 0, 1, float64(pt.Y)})
}
func (r *recorder) Scale(x, y float64) { r.transform([6]float64{x, 0, 0, 0, y, 0}) }

func (r *recorder) transform(b [6]float64) {
	a := r.state.at
	r.state.at = [6]float64{
		a[0]*b[0] + a[1]*b[3], a[0]*b[1] + a[1]*b[4], a[0]*b[2] + a[1]*b[5] + a[2],
		a[3]*b[0] + a[4]*b[3], a[3]*b[1] + a[4]*b[4], a[3]*b[2] + a[4]*b[5] + a[5],
	}
}

func (r *recorder) place(pt vg.Point) vg.Point {
	a, x, y := r.state.at, float64(pt.X), float64(pt.Y)
	return vg.Point{X: vg.Length(a[0]*x + a[1]*y + a[2]), Y: vg.Length(a[3]*x + a[4]*y + a[5])}
}

func (r *recorder) Push() { r.stack = append(r.stack, r.state) }
func (r *recorder) Pop() {
	if len(r.stack) == 0 {
		r.pops++
		return
	}
	last := len(r.stack) - 1
	r.state = r.stack[last].(struct {
		at     [6]float64
		color  color.NRGBA
		width  vg.Length
		dashes []vg.Length
	})
	r.stack = r.stack[:last]
}

func (r *recorder) Stroke(p vg.Path) {
	if r.state.width > 0 {
		m := r.path(p, "line", "ring")
		m.width, m.dashes = r.state.width, r.state.dashes
		r.marks = append(r.marks, m)
	}
}
func (r *recorder) Fill(p vg.Path) { r.marks = append(r.marks, r.path(p, "fill", "disc")) }

// path is the mark of a path of straight lines, or of a whole circle.
func (r *recorder) path(p vg.Path, straight, round string) mark {
	m := mark{kind: straight, color: r.state.color}
	for _, c := range p {
		switch c.Type {
		case vg.MoveComp, vg.LineComp:
			m.pts = append(m.pts, r.place(c.Pos))
		case vg.ArcComp:
			return mark{kind: round, color: r.state.color, pts: []vg.Point{r.place(c.Pos)}, radius: c.Radius}
		case vg.CurveComp:
			panic("no figure has a curve")
		}
	}
	return m
}

func (r *recorder) FillString(f font.Face, pt vg.Point, s string) {
	w, e := f.Width(s), f.Extents()
	corner := func(x, y vg.Length) vg.Point { return r.place(vg.Point{X: pt.X + x, Y: pt.Y + y}) }
	r.marks = append(r.marks, mark{
		kind: "text", color: r.state.color, text: s, size: f.Font.Size,
		pts: []vg.Point{corner(0, 0), corner(w, 0), corner(w, e.Ascent), corner(0, e.Ascent)},
	})
}

func (r *recorder) DrawImage(vg.Rectangle, image.Image) { panic("no figure has a picture in it") }

// in returns the marks whose centre is within a rectangle.
func (r *recorder) in(x0, y0, x1, y1 vg.Length) *recorder {
	part := &recorder{w: r.w, h: r.h}
	for _, m := range r.marks {
		if c := m.centre(); c.X >= x0 && c.X <= x1 && c.Y >= y0 && c.Y <= y1 {
			part.marks = append(part.marks, m)
		}
	}
	return part
}

// all returns the marks of a kind and colour.
func (r *recorder) all(kind string, c color.Color) []mark {
	var ms []mark
	for _, m := range r.marks {
		if m.same(kind, c) {
			ms = append(ms, m)
		}
	}
	return ms
}

// texts returns the texts that keep accepts, from the top down.
func (r *recorder) texts(keep func(string) bool) []mark {
	var ms []mark
	for _, m := range r.marks {
		if m.kind == "text" && keep(m.text) {
			ms = append(ms, m)
		}
	}
	slices.SortStableFunc(ms, func(a, b mark) int { return cmp.Compare(b.pts[0].Y, a.pts[0].Y) })
	return ms
}

// text returns the one text that reads s.
func (r *recorder) text(t *testing.T, s string) mark {
	t.Helper()
	ms := r.texts(func(text string) bool { return text == s })
	if len(ms) != 1 {
		t.Fatalf("%d texts read %q", len(ms), s)
	}
	return ms[0]
}

// key returns what is drawn in front of a name of the legend, which is the lowest text of
// that name.
func (r *recorder) key(t *testing.T, name string) []mark {
	t.Helper()
	ms := r.texts(func(text string) bool { return text == name })
	if len(ms) == 0 {
		t.Fatalf("the legend has no %q", name)
	}
	at := ms[len(ms)-1].pts[0]
	key := r.in(at.X-21, at.Y-2, at.X-1, at.Y+9)
	key.marks = slices.DeleteFunc(key.marks, func(m mark) bool { return m.kind == "text" })
	if len(key.marks) == 0 {
		t.Fatalf("the legend shows nothing for %q", name)
	}
	return key.marks
}

// scale converts positions on the page to values.
type scale struct {
	at0, at1       vg.Length
	value0, value1 float64
	log            bool
}

func (s scale) value(at vg.Length) float64 {
	share := float64((at - s.at0) / (s.at1 - s.at0))
	if s.log {
		return s.value0 * math.Pow(s.value1/s.value0, share)
	}
	return s.value0 + share*(s.value1-s.value0)
}

// at is the position of a value.
func (s scale) at(value float64) vg.Length {
	share := (value - s.value0) / (s.value1 - s.value0)
	if s.log {
		share = math.Log(value/s.value0) / math.Log(s.value1/s.value0)
	}
	return s.at0 + vg.Length(share)*(s.at1-s.at0)
}

// tick is a label of an axis.
type tick struct {
	value float64
	at    vg.Length
}

// quantity reads a number with or without a unit of time (then in milliseconds) or a
// per cent sign.
func quantity(s string) (float64, bool) {
	unit := 1.0
	switch {
	case strings.HasSuffix(s, " ms"):
		s = strings.TrimSuffix(s, " ms")
	case strings.HasSuffix(s, " s"):
		s, unit = strings.TrimSuffix(s, " s"), 1000
	case strings.HasSuffix(s, "%"):
		s = strings.TrimSuffix(s, "%")
	}
	x, err := strconv.ParseFloat(s, 64)
	return x * unit, err == nil
}

// numbers returns the texts in the usual size that are numbers.
func (r *recorder) numbers() []mark {
	return slices.DeleteFunc(r.texts(func(s string) bool { _, ok := quantity(s); return ok }),
		func(m mark) bool { return m.size != textSize || m.pts[0].Y != m.pts[1].Y })
}

// xAxis reads the lowest row of numbers as the axis that they are the labels of.
func (r *recorder) xAxis(t *testing.T, log bool) (scale, []tick) {
	t.Helper()
	ns := r.numbers()
	var ticks []tick
	for _, m := range ns {
		if math.Abs(float64(m.pts[0].Y-ns[len(ns)-1].pts[0].Y)) < 0.01 {
			v, _ := quantity(m.text)
			ticks = append(ticks, tick{v, m.centre().X})
		}
	}
	return newScale(t, ticks, log), ticks
}

// yAxis reads the column of numbers furthest to the left as the axis that they are the
// labels of.
func (r *recorder) yAxis(t *testing.T, log bool) (scale, []tick) {
	t.Helper()
	ns := r.numbers()
	left := vg.Length(math.Inf(1))
	for _, m := range ns {
		left = min(left, m.pts[1].X)
	}
	var ticks []tick
	for _, m := range ns {
		if math.Abs(float64(m.pts[1].X-left)) < 0.01 {
			v, _ := quantity(m.text)
			ticks = append(ticks, tick{v, r.strokeOf(t, m)})
		}
	}
	return newScale(t, ticks, log), ticks
}

// strokeOf is the height of the stroke to the right of a label. The label's own middle
// depends on the font.
func (r *recorder) strokeOf(t *testing.T, label mark) vg.Length {
	t.Helper()
	at := label.centre().Y
	beside := r.in(label.pts[1].X, at-4, label.pts[1].X+8, at+4)
	for _, m := range beside.all("line", black) {
		if m.width == thin && m.pts[0].Y == m.pts[1].Y && near(float64(abs(m.pts[0].X-m.pts[1].X)), 3, 1e-6) {
			return m.pts[0].Y
		}
	}
	t.Fatalf("the label %q has no stroke", label.text)
	return 0
}

func newScale(t *testing.T, ticks []tick, log bool) scale {
	t.Helper()
	slices.SortFunc(ticks, func(a, b tick) int { return cmp.Compare(a.value, b.value) })
	if len(ticks) < 2 {
		t.Fatalf("an axis with %d labels", len(ticks))
	}
	a, b := ticks[0], ticks[len(ticks)-1]
	s := scale{a.at, b.at, a.value, b.value, log}
	for _, k := range ticks {
		if got := s.value(k.at); !near(got, k.value, 1e-6*(1+math.Abs(b.value))) {
			t.Errorf("the label %g of the axis is at %g", k.value, got)
		}
	}
	return s
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }

// sameValues compares values read from a drawing with those that should be in it, in any
// order.
func sameValues(t *testing.T, what string, got, want []float64) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if len(got) != len(want) {
		t.Errorf("%s: %d values are drawn, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !near(got[i], want[i], 1e-6*(1+math.Abs(want[i]))) {
			t.Errorf("%s: drawn are\n%v, want\n%v", what, got, want)
			return
		}
	}
}

// TestRecorder: the recorder sees marks where they are on the page.
func TestRecorder(t *testing.T) {
	t.Parallel()
	f := &Figure{height: 100, paint: func(c draw.Canvas) {
		c.Push()
		c.Translate(vg.Point{X: 10, Y: 20})
		c.Rotate(math.Pi / 2)
		c.Scale(2, 3)
		c.StrokeLine2(medianLine, 1, 0, 1, 1)
		c.Pop()
		dot(&c, vg.Point{X: 50, Y: 50})
	}}
	r := record(t, f)
	var got []string
	for _, m := range r.marks {
		got = append(got, m.String())
	}
	want := []string{"line #000000 w1.2 10,22 7,22", "disc #ffffff r1.7 50,50", "ring #000000 w0.5 r1.7 50,50"}
	if !slices.Equal(got, want) {
		t.Errorf("recorded are\n%q, want\n%q", got, want)
	}
}
