package figure

import (
	"encoding/csv"
	"fmt"
	"image/color"
	"io"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Breakdown is the model of a figure of one event by who spends its time: a
// stacked bar for each mechanism and loop.
type Breakdown struct {
	Host   string // lab or xen
	Xen    string // version
	Kernel string // release of the guest's
	Bars   []BreakdownBar
}

// BreakdownBar is the mean event of one loop.
type BreakdownBar struct {
	Mechanism string
	Loop      string
	Events    int // that it is the mean of
	Parts     []BreakdownPart
}

// BreakdownPart is one part of it.
type BreakdownPart struct {
	Name  string  // hypervisor, wakeup, monitor or kernel
	Value float64 // cycles of the time-stamp counter; in the lab, instructions
}

// partStyle is how a part is shown. One that is not listed is grey.
func partStyle(name string) (label, meaning string, c color.Color) {
	switch name {
	case "hypervisor":
		return "hypervisor", "Xen, from the guest's exit until dom0 is on the CPU, from the answer until the guest may run, in hypercalls of the monitor's own calls, and from dom0's end until the guest's entry", blue
	case "wakeup":
		return "wake-up", "dom0's kernel, from being put on the CPU until the monitor is back from its wait", orange
	case "monitor":
		return "monitor", "its own instructions, until it waits again", green
	case "kernel":
		return "dom0 kernel", "system calls of the monitor otherwise, and hypercalls whose end the trace does not show", purple
	}
	return name, "", grey
}

func (b *Breakdown) unit() string {
	if b.Host == "lab" {
		return "instructions"
	}
	return "cycles"
}

func (b *Breakdown) title() string {
	note := ""
	if b.Host == "lab" {
		note = " (emulated; virtual time)"
	}
	return fmt.Sprintf("host: %s%s; Xen %s; guest: %s", b.Host, note, b.Xen, b.Kernel)
}

// parts returns the names of the parts that occur, in the order of the first bar
// that has them.
func (b *Breakdown) parts() []string {
	var names []string
	seen := map[string]bool{}
	for _, bar := range b.Bars {
		for _, p := range bar.Parts {
			if !seen[p.Name] {
				seen[p.Name] = true
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// Caption says what the figure shows.
func (b *Breakdown) Caption() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s.\n\nOne event of a monitor, from the guest's exit to its entry, by who spends the time: the mean over n events, in %s. "+
		"From the hypervisor's trace, whose records cost time themselves, and the time-stamp counter read by the monitor.\n", b.title(), b.unit())
	for _, name := range b.parts() {
		if label, meaning, _ := partStyle(name); meaning != "" {
			fmt.Fprintf(&s, "  %s: %s.\n", label, meaning)
		}
	}
	for _, bar := range b.Bars {
		fmt.Fprintf(&s, "  %s, %s: n = %d, sum %.0f.\n", bar.Mechanism, bar.Loop, bar.Events, bar.sum())
	}
	return s.String()
}

func (b *BreakdownBar) sum() float64 {
	var sum float64
	for _, p := range b.Parts {
		sum += p.Value
	}
	return sum
}

// WriteCSV writes every value drawn.
func (b *Breakdown) WriteCSV(w io.Writer) error {
	cw := csv.NewWriter(w)
	cw.Write([]string{"host", "kernel", "mechanism", "loop", "events", "part", "value", "unit"})
	for _, bar := range b.Bars {
		for _, p := range bar.Parts {
			cw.Write([]string{b.Host, b.Kernel, bar.Mechanism, bar.Loop, strconv.Itoa(bar.Events), p.Name,
				strconv.FormatFloat(p.Value, 'f', 1, 64), b.unit()})
		}
	}
	cw.Flush()
	if err := cw.Error(); err != nil {
		return fmt.Errorf("figure: write csv: %w", err)
	}
	return nil
}

// WritePNG draws the figure at 300 dots an inch.
func (b *Breakdown) WritePNG(w io.Writer) error { return writePNG(w, width, b.height(), dpi, b.draw) }

// WriteSVG draws the figure as SVG, as Overview.WriteSVG does.
func (b *Breakdown) WriteSVG(w io.Writer) error { return writeSVG(w, width, b.height(), b.draw) }

// WritePDF draws the figure as PDF, as Overview.WritePDF does.
func (b *Breakdown) WritePDF(w io.Writer) error { return writePDF(w, width, b.height(), b.draw) }

// Write writes the figure into dir as Overview.Write does.
func (b *Breakdown) Write(dir, name string) ([]string, error) { return write(b, dir, name) }

func (b *Breakdown) layout() *layout {
	var l layout
	for _, bar := range b.Bars {
		l.add(bar.Mechanism, fmt.Sprintf("%s, n=%d", bar.Loop, bar.Events))
	}
	return &l
}

func (b *Breakdown) height() vg.Length {
	l := b.layout()
	return head + foot + axisRoom + vg.Length(max(len(l.ticks)+len(l.titles), 3))*rowPitch
}

func (b *Breakdown) draw(c draw.Canvas) {
	c = draw.Crop(c, 4, -6, 3, -3)
	c.FillText(textStyle(titleSize, black, text.XLeft, text.YTop), vg.Point{X: c.Min.X, Y: c.Max.Y}, b.title())
	const title = "One event, from the guest's exit to its entry, by who spends the time (mean)"
	if len(b.Bars) == 0 {
		emptyPanel(c, title, "no event was timed")
		return
	}
	p := newPlot()
	var most float64
	for _, bar := range b.Bars {
		most = max(most, bar.sum())
	}
	if most == 0 {
		most = 1 // bars without parts
	}
	p.X.Min, p.X.Max = 0, headRoom(most)*1.05 // room for the sums
	p.X.Tick.Marker = thousands{ticks{n: 6, limit: most}}
	p.X.Label.Text = "thousand " + b.unit() + " per event"
	l := b.layout()
	p.Add(guides{})
	l.apply(p)
	p.Add(partPlotter{b.Bars, l.ticks})
	var keys []key
	for _, name := range b.parts() {
		label, _, fill := partStyle(name)
		keys = append(keys, key{label, func(c *draw.Canvas, at vg.Point) {
			box(c, fill, at.X-4, at.Y-3, at.X+4, at.Y+3)
		}})
	}
	panel(c, title, p, keys)
}

// thousands labels ticks in thousands.
type thousands struct{ ticks }

func (t thousands) Ticks(min, max float64) []plot.Tick {
	all := t.ticks.Ticks(min, max)
	for i := range all {
		all[i].Label = fmt.Sprintf("%.10g", all[i].Value/1000)
	}
	return all
}

type partPlotter struct {
	bars  []BreakdownBar
	lines []plot.Tick
}

func (b partPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for i, bar := range b.bars {
		line := b.lines[i].Value
		var from float64
		for _, part := range bar.Parts {
			_, _, fill := partStyle(part.Name)
			to := from + part.Value
			box(&c, fill, x(from), y(line-barReach), x(to), y(line+barReach))
			from = to
		}
		c.FillText(sty, vg.Point{X: x(from) + 3, Y: y(line)}, fmt.Sprintf("%.1f", from/1000))
	}
}
