package figure

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/results"
)

// Breakdown is the time of one event by who spends it, for each mechanism and loop.
type Breakdown struct {
	Name   string // of the figure's files
	Host   string // lab or xen
	Xen    string // version
	Kernel string // release of the guest's kernel
	Bars   []BreakdownBar
}

// BreakdownBar is the mean event of one loop.
type BreakdownBar struct {
	Mechanism string
	Loop      string
	Events    int // how many events the mean is of
	Parts     []BreakdownPart
}

// BreakdownPart is one part of an event.
type BreakdownPart struct {
	Name  string  // hypervisor, wakeup, monitor or kernel
	Value float64 // cycles of the time-stamp counter; in the lab, instructions
}

// partStyle returns how a part is shown. A part that is not listed is grey.
func partStyle(name string) (label, meaning string, c color.Color) {
	switch name {
	case "hypervisor":
		return "hypervisor", "Xen, from the guest's exit until dom0 is on the CPU, from the answer until the guest may " +
			"run, in hypercalls of the monitor's own calls, and from dom0's end until the guest's entry", blue
	case "wakeup":
		return "wake-up", "dom0's kernel, from being put on the CPU until the monitor is back from its wait", orange
	case "monitor":
		return "monitor", "its own instructions, until it waits again", green
	case "kernel":
		return "dom0 kernel", "system calls of the monitor otherwise, and hypercalls whose end the trace does not show",
			purple
	}
	return name, "", grey
}

func (b *Breakdown) unit() string {
	if b.Host == results.Lab {
		return "instructions"
	}
	return "cycles"
}

// parts returns the names of the parts that occur, in the order in which the bars have
// them.
func (b *Breakdown) parts() []string {
	var names []string
	for _, bar := range b.Bars {
		for _, p := range bar.Parts {
			if !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

func (b *BreakdownBar) sum() float64 {
	var sum float64
	for _, p := range b.Parts {
		sum += p.Value
	}
	return sum
}

// Figure draws a stacked bar for each mechanism and loop.
func (b *Breakdown) Figure() *Figure {
	f := &Figure{
		Name: b.Name, Title: "One event, from the guest's exit to its entry, by who spends the time (mean)",
		head:   fmt.Sprintf("host: %s%s; Xen %s; guest: %s", b.Host, results.HostNote(b.Host), b.Xen, b.Kernel),
		says:   b.caption(),
		values: [][]string{{"host", "kernel", "mechanism", "loop", "events", "part", "value", "unit"}},
		height: b.layout().height(3),
	}
	for _, bar := range b.Bars {
		for _, p := range bar.Parts {
			f.values = append(f.values, []string{b.Host, b.Kernel, bar.Mechanism, bar.Loop, strconv.Itoa(bar.Events), p.Name,
				strconv.FormatFloat(p.Value, 'f', 1, 64), b.unit()})
		}
	}
	f.paint = func(c draw.Canvas) { b.draw(c, f.Title) }
	return f
}

func (b *Breakdown) caption() string {
	var s strings.Builder
	fmt.Fprintf(&s, "One event of a monitor, from the guest's exit to its entry, by who spends the time: the mean over n "+
		"events, in %s. From the hypervisor's trace, whose records cost time themselves, and the time-stamp counter read "+
		"by the monitor.\n", b.unit())
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

func (b *Breakdown) layout() *layout {
	var l layout
	for _, bar := range b.Bars {
		l.add(bar.Mechanism, bar.Loop, fmt.Sprintf(", n=%d", bar.Events))
	}
	return &l
}

func (b *Breakdown) draw(c draw.Canvas, title string) {
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
	p.X.Min, p.X.Max = 0, headRoom(most)*1.05 // with space for the sums
	p.X.Tick.Marker = thousands{ticks{n: 6, limit: most}}
	p.X.Label.Text = "thousand " + b.unit() + " per event"
	l := b.layout()
	p.Add(guidesX{})
	l.apply(p, c.Max.X-c.Min.X)
	p.Add(partPlotter{b.Bars, l.rows})
	var keys []key
	for _, name := range b.parts() {
		label, _, fill := partStyle(name)
		keys = append(keys, boxKey(label, fill))
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
	lines []layoutRow
}

func (b partPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	sty := textStyle(textSize, black, text.XLeft, text.YCenter)
	for i, bar := range b.bars {
		line := b.lines[i].y
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
