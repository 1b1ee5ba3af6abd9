package figure

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"regexp"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	width     = 7 * vg.Inch // full text width of a two-column page
	leftShare = 0.54
	head      = vg.Length(26)
	foot      = vg.Length(16)
	axisRoom  = vg.Length(36)
	dpi       = 300
	maxHeight = 4000 // pixels of a PNG, where 72 dots an inch allow it
)

// Write writes the figure into dir as <name>.png, .svg and .pdf, with its
// caption in <name>.txt and the values drawn in <name>.csv, and returns the five
// paths.
func (o *Overview) Write(dir, name string) ([]string, error) { return write(o, dir, name) }

// WritePNG draws the figure at 300 dots an inch.
func (o *Overview) WritePNG(w io.Writer) error { return o.writePNG(w, dpi) }

func (o *Overview) writePNG(w io.Writer, dpi int) error {
	return writePNG(w, width, o.height(), dpi, o.draw)
}

func writePNG(w io.Writer, width, height vg.Length, dpi int, paint func(draw.Canvas)) error {
	// A figure of hundreds of cells is many pages long. It is drawn coarser, not to
	// fill memory with its pixels.
	if most := int(maxHeight / height.Dots(1)); dpi > most {
		dpi = max(most, 72)
	}
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(white))
	paint(draw.New(c))
	if _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(w); err != nil {
		return fmt.Errorf("figure: write png: %w", err)
	}
	return nil
}

// WriteSVG draws the figure as SVG. Its fonts are not embedded, which would
// make it twenty times as large. Every text carries the length it was laid out
// with instead, so that a reader's other font is squeezed into its place.
func (o *Overview) WriteSVG(w io.Writer) error { return writeSVG(w, width, o.height(), o.draw) }

func writeSVG(w io.Writer, width, height vg.Length, paint func(draw.Canvas)) error {
	c := &svgCanvas{Canvas: vgsvg.New(width, height)}
	dc := draw.New(c)
	dc.SetColor(white)
	dc.Fill(dc.Rectangle.Path())
	paint(dc)
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return fmt.Errorf("figure: write svg: %w", err)
	}
	parts := bytes.Split(buf.Bytes(), []byte("<text "))
	if len(parts) != len(c.lengths)+1 {
		return fmt.Errorf("figure: write svg: %d texts drawn, %d written", len(c.lengths), len(parts)-1)
	}
	var svg bytes.Buffer
	svg.Write(parts[0])
	for i, part := range parts[1:] {
		fmt.Fprintf(&svg, `<text textLength="%.2f" lengthAdjust="spacingAndGlyphs" `, c.lengths[i].Points())
		svg.Write(part)
	}
	out := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("figure: write svg: %w", err)
	}
	return nil
}

// WritePDF draws the figure as PDF, with its font in it.
func (o *Overview) WritePDF(w io.Writer) error { return writePDF(w, width, o.height(), o.draw) }

// madeAt are the dates that the library puts into a PDF, and what stands there
// instead, so that equal figures are equal files. It is of the same length, as
// the file has an index of positions.
var (
	madeAt = regexp.MustCompile(`/(CreationDate|ModDate) \(D:[0-9]{14}\)`)
	notAt  = []byte("/$1 (D:20000101000000)")
)

func writePDF(w io.Writer, width, height vg.Length, paint func(draw.Canvas)) error {
	c := vgpdf.New(width, height)
	paint(draw.New(c))
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return fmt.Errorf("figure: write pdf: %w", err)
	}
	if _, err := w.Write(madeAt.ReplaceAll(buf.Bytes(), notAt)); err != nil {
		return fmt.Errorf("figure: write pdf: %w", err)
	}
	return nil
}

// svgCanvas remembers how long each text is in the font it was laid out with.
type svgCanvas struct {
	*vgsvg.Canvas
	lengths []vg.Length
}

func (c *svgCanvas) FillString(f font.Face, pt vg.Point, s string) {
	c.lengths = append(c.lengths, f.Width(s))
	c.Canvas.FillString(f, pt, s)
}

// height gives every bar and every scenario's name of the left panel a line.
func (o *Overview) height() vg.Length {
	l := layoutBars(o.bars)
	return head + foot + axisRoom + vg.Length(max(len(l.ticks)+len(l.titles), 9))*rowPitch
}

func (o *Overview) draw(c draw.Canvas) {
	c = draw.Crop(c, 4, -6, 3, -3)
	c.FillText(textStyle(titleSize, black, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y}, o.set.Caption())
	split := c.Min.X + (c.Max.X-c.Min.X)*leftShare
	left, right := c, c
	left.Max.X = split - 6
	right.Min.X = split + 6
	o.drawBars(left)
	o.drawRows(right)
}

// panel draws a plot under its title and above its legend.
func panel(c draw.Canvas, title string, p *plot.Plot, legend []key) {
	c.FillText(textStyle(textSize, grey, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y - 13}, title)
	drawLegend(c, legend)
	p.Draw(draw.Crop(c, 0, 0, foot, -head))
}

// key is an entry of a legend.
type key struct {
	name  string
	thumb func(c *draw.Canvas, centre vg.Point)
}

// drawLegend sets the keys side by side along the lower edge of c.
func drawLegend(c draw.Canvas, keys []key) {
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	x, y := c.Min.X, c.Min.Y+5
	for _, k := range keys {
		k.thumb(&c, vg.Point{X: x + 4, Y: y})
		c.FillText(sty, vg.Point{X: x + 10, Y: y}, k.name)
		x += 10 + sty.Width(k.name) + 9
	}
}

// layout places lines of text and data from the top down: y is minus the line.
type layout struct {
	ticks  []plot.Tick // a label at each data line
	titles []plot.Tick // a scenario's name above its lines
	titled string      // a scenario that is named elsewhere
}

func (l *layout) add(scenario, label string) {
	if scenario != l.titled && (len(l.titles) == 0 || l.titles[len(l.titles)-1].Label != scenario) {
		l.titles = append(l.titles, plot.Tick{Value: l.next(), Label: scenario})
	}
	l.ticks = append(l.ticks, plot.Tick{Value: l.next(), Label: label})
}

func (l *layout) next() float64 { return -float64(len(l.ticks) + len(l.titles)) }

// apply sets the y axis to the layout.
func (l *layout) apply(p *plot.Plot) {
	p.Y.Min, p.Y.Max = l.next()+0.3, 0.6
	p.Y.Tick.Marker = plot.ConstantTicks(l.ticks)
	p.Add(titles(l.titles))
}

// titles writes the names of scenarios into the panel, above their lines.
type titles []plot.Tick

func (t titles) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for _, tick := range t {
		c.FillText(sty, vg.Point{X: c.Min.X + 3, Y: y(tick.Value)}, tick.Label)
	}
}

// guides draws faint vertical lines at the axis' major ticks.
type guides struct{}

func (guides) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		if !t.IsMinor() && t.Value > p.X.Min && t.Value <= p.X.Max {
			c.StrokeLine2(guideLine, x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
		}
	}
}

// fan places n marks of one line side by side across it: the offset of the
// i-th from the middle, by at most a mark's own size and within plus and minus
// reach.
func fan(i, n int, reach vg.Length) vg.Length {
	if n < 2 {
		return 0
	}
	pitch := min(2.2*markSize, 2*reach/vg.Length(n-1))
	return pitch * (vg.Length(n-1)/2 - vg.Length(i))
}

// headRoom is the end of an axis whose largest value is x, so that neither bars
// nor dots touch it.
func headRoom(x float64) float64 {
	if x <= 0 {
		return 1
	}
	return x * 1.06
}

// roundStep is the smallest of 1, 2, 5 and 10 times a power of ten that is not
// below raw, which is positive.
func roundStep(raw float64) float64 {
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*mag {
			return m * mag
		}
	}
	return 10 * mag
}

// ticks are about n round numbers from 0 to below limit.
type ticks struct {
	n     int
	limit float64
}

func (t ticks) Ticks(min, max float64) []plot.Tick {
	limit := math.Min(t.limit, max)
	step := roundStep(limit / float64(t.n))
	var out []plot.Tick
	for i := int(math.Ceil(min / step)); float64(i)*step <= limit; i++ {
		v := float64(i) * step
		out = append(out, plot.Tick{Value: v, Label: fmt.Sprintf("%.10g", v)})
	}
	return out
}

// message stands in an empty panel.
type message string

func (m message) Plot(c draw.Canvas, _ *plot.Plot) {
	c.FillText(textStyle(textSize, grey, text.XCenter, text.YCenter), c.Center(), string(m))
}

// emptyPanel says why there is nothing to see.
func emptyPanel(c draw.Canvas, title, why string) {
	p := newPlot()
	p.HideAxes()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	p.Add(message(why))
	panel(c, title, p, nil)
}

func dot(c *draw.Canvas, at vg.Point) {
	c.DrawGlyph(dotMark, at)
	c.DrawGlyph(dotRing, at)
}

func seenDot(c *draw.Canvas, at vg.Point) {
	c.DrawGlyph(seenMark, at)
	c.DrawGlyph(seenRing, at)
}
