package figure

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Okabe and Ito's palette ("Color Universal Design", 2008), which stays
// distinguishable with every common colour blindness and, by its lightness,
// in print without colour.
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

// classColor is the colour of a class of EPT violations, the same in every
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

// The sizes are those on paper: figures are drawn at their final size and
// never scaled.
const (
	textSize  = vg.Length(7.5)
	titleSize = vg.Length(8.5)
	thin      = vg.Length(0.5)
	markSize  = vg.Length(1.7) // radius
	rowPitch  = vg.Length(13)
)

var (
	// dotMark is one trial's count, readable on every bar colour.
	dotMark = draw.GlyphStyle{Color: white, Radius: markSize, Shape: draw.CircleGlyph{}}
	dotRing = draw.GlyphStyle{Color: black, Radius: markSize, Shape: draw.RingGlyph{}}
	// seenMark is a detection, missMark a miss: they differ in shape, fill
	// and colour.
	seenMark = draw.GlyphStyle{Color: skyBlue, Radius: markSize, Shape: draw.CircleGlyph{}}
	seenRing = draw.GlyphStyle{Color: blue, Radius: markSize, Shape: draw.RingGlyph{}}
	missMark = draw.GlyphStyle{Color: vermilion, Radius: 2.2, Shape: draw.CrossGlyph{}}

	barEdge    = draw.LineStyle{Color: white, Width: 0.4}
	medianLine = draw.LineStyle{Color: black, Width: 1.2}
	guideLine  = draw.LineStyle{Color: lightGrey, Width: thin}
	breakLine  = draw.LineStyle{Color: grey, Width: thin, Dashes: []vg.Length{2, 2}}
)

func textStyle(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) draw.TextStyle {
	return draw.TextStyle{
		Color:   c,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign:  x,
		YAlign:  y,
		Handler: plot.DefaultTextHandler,
	}
}

// newPlot is an empty plot in the style of all figures.
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
