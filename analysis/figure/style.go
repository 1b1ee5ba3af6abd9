package figure

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The palette of Okabe and Ito ("Color Universal Design", 2008). Its colours can be told
// apart with every common colour blindness and, by their lightness, in print without
// colour.
var (
	black     = color.NRGBA{A: 255}
	white     = color.NRGBA{255, 255, 255, 255}
	grey      = color.NRGBA{110, 110, 110, 255}
	lightGrey = color.NRGBA{225, 225, 225, 255}

	orange    = color.NRGBA{230, 159, 0, 255}
	skyBlue   = color.NRGBA{86, 180, 233, 255}
	green     = color.NRGBA{0, 158, 115, 255}
	yellow    = color.NRGBA{240, 228, 66, 255}
	blue      = color.NRGBA{0, 114, 178, 255}
	vermilion = color.NRGBA{213, 94, 0, 255}
	purple    = color.NRGBA{204, 121, 167, 255}
)

// classColor returns the colour of a class of EPT violations. It is the same in every
// figure. A class that is not listed is grey.
func classColor(class string) color.Color {
	switch class {
	case "permission":
		return blue
	case "lazy":
		return orange
	case "mmio":
		return green
	case "superpage":
		return yellow
	case "suppressed":
		return purple
	case "residual":
		return vermilion
	}
	return grey
}

// Sizes on paper, in points. Figures are drawn at their final size and never scaled.
const (
	textSize     = vg.Length(7.5)
	titleSize    = vg.Length(8.5)
	thin         = vg.Length(0.5)
	markSize     = vg.Length(1.7) // radius
	rowPitch     = vg.Length(13)  // height of a line of a layout
	whiskerWidth = vg.Length(0.8)
)

var (
	// dotMark and dotRing mark a trial. They can be seen on bars of every colour.
	dotMark = draw.GlyphStyle{Color: white, Radius: markSize, Shape: draw.CircleGlyph{}}
	dotRing = draw.GlyphStyle{Color: black, Radius: markSize, Shape: draw.RingGlyph{}}
	// seenMark and seenRing mark a detection, missMark a miss. They differ in shape, fill
	// and colour.
	seenMark = draw.GlyphStyle{Color: skyBlue, Radius: markSize, Shape: draw.CircleGlyph{}}
	seenRing = draw.GlyphStyle{Color: blue, Radius: markSize, Shape: draw.RingGlyph{}}
	missMark = draw.GlyphStyle{Color: vermilion, Radius: 2.2, Shape: draw.CrossGlyph{}}

	barEdge    = draw.LineStyle{Color: white, Width: 0.4}
	medianLine = draw.LineStyle{Color: black, Width: 1.2}
	rangeLine  = draw.LineStyle{Color: grey, Width: whiskerWidth} // a range that is no interval
	guideLine  = draw.LineStyle{Color: lightGrey, Width: thin}
	breakLine  = draw.LineStyle{Color: grey, Width: thin, Dashes: []vg.Length{2, 2}}
)

// lineStyle returns the style of line i of n. Lines differ in colour and, for print, in
// dashes. Those that are drawn first are broader, so that equal lines can all be seen.
func lineStyle(i, n int) draw.LineStyle {
	colors := []color.Color{blue, vermilion, green, purple, orange, skyBlue, black, grey}
	dashes := [][]vg.Length{nil, {5, 2}, {1.5, 1.5}, {7, 2, 1.5, 2}}
	return draw.LineStyle{
		Color:  colors[i%len(colors)],
		Width:  1 + 1.4*vg.Length(n-1-i)/vg.Length(max(n-1, 1)),
		Dashes: dashes[i%len(dashes)],
	}
}

func textStyle(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) draw.TextStyle {
	return draw.TextStyle{
		Color:   c,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign:  x,
		YAlign:  y,
		Handler: plot.DefaultTextHandler,
	}
}

// newPlot returns an empty plot in the style of all figures.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Padding = 0
		a.LineStyle.Width = thin
		a.Tick.LineStyle.Width = thin
		a.Tick.Length = 3
		a.Tick.Label.Font = textStyle(textSize, black, 0, 0).Font
		a.Label.TextStyle.Font = textStyle(textSize, black, 0, 0).Font
		a.Label.Padding = 2
	}
	p.Y.Tick.Length = 0
	return p
}
