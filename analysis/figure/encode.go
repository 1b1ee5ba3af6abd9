package figure

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"regexp"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	dpi       = 300  // dots an inch of a PNG
	maxHeight = 4000 // pixels of a PNG, as far as 72 dots an inch allow it
)

// draw paints the whole page.
func (f *Figure) draw(c draw.Canvas) { f.paint(sheet(c, f.head)) }

// WritePNG draws the figure at 300 dots an inch. A figure that would be higher than
// 4000 pixels has fewer dots an inch, but at least 72.
func (f *Figure) WritePNG(w io.Writer) error { return f.writePNG(w, dpi) }

func (f *Figure) writePNG(w io.Writer, dpi int) error {
	// The best compression makes the file 3 % smaller and takes twice the time.
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(w, f.image(dpi)); err != nil {
		return fmt.Errorf("figure %s: write png: %w", f.Name, err)
	}
	return nil
}

// image draws the figure with so many dots an inch, or fewer: a figure of hundreds of rows
// is many pages long, and its pixels must fit into memory.
func (f *Figure) image(dpi int) image.Image {
	dpi = min(dpi, max(int(maxHeight/f.height.Dots(1)), 72))
	c := vgimg.NewWith(vgimg.UseWH(width, f.height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(white))
	f.draw(draw.New(c))
	return c.Image()
}

// WriteSVG draws the figure as SVG. Fonts are not embedded: they would make the file
// twenty times as large. Instead every text carries the length that it had when it
// was laid out, so that a reader's other font is squeezed to the same length.
func (f *Figure) WriteSVG(w io.Writer) error {
	c := &svgCanvas{Canvas: vgsvg.New(width, f.height)}
	dc := draw.New(c)
	dc.SetColor(white)
	dc.Fill(dc.Rectangle.Path())
	f.draw(dc)
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return fmt.Errorf("figure %s: write svg: %w", f.Name, err)
	}
	const element = "<text "
	if n := bytes.Count(buf.Bytes(), []byte(element)); n != len(c.lengths) {
		return fmt.Errorf("figure %s: write svg: %d texts drawn, %d written", f.Name, len(c.lengths), n)
	}
	parts := bytes.Split(buf.Bytes(), []byte(element))
	var svg bytes.Buffer
	svg.Write(parts[0])
	for i, part := range parts[1:] {
		fmt.Fprintf(&svg, `<text textLength="%.2f" lengthAdjust="spacingAndGlyphs" `, c.lengths[i].Points())
		svg.Write(part)
	}
	out := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("figure %s: write svg: %w", f.Name, err)
	}
	return nil
}

// svgCanvas records the length of each text in the font that it was laid out with.
type svgCanvas struct {
	*vgsvg.Canvas
	lengths []vg.Length
}

func (c *svgCanvas) FillString(f font.Face, pt vg.Point, s string) {
	c.lengths = append(c.lengths, f.Width(s))
	c.Canvas.FillString(f, pt, s)
}

// The library writes the time of day into a PDF. It is replaced by a constant of the
// same length, because the file contains an index of byte positions. So equal figures
// are equal files.
var (
	pdfDate   = regexp.MustCompile(`/(CreationDate|ModDate) \(D:[0-9]{14}\)`)
	fixedDate = []byte("/$1 (D:20000101000000)")
)

// WritePDF draws the figure as PDF with its font embedded.
func (f *Figure) WritePDF(w io.Writer) error {
	if err := tryTemp(); err != nil {
		return fmt.Errorf("figure %s: write pdf: %w", f.Name, err)
	}
	c := vgpdf.New(width, f.height)
	f.draw(draw.New(c))
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return fmt.Errorf("figure %s: write pdf: %w", f.Name, err)
	}
	if _, err := w.Write(pdfDate.ReplaceAll(buf.Bytes(), fixedDate)); err != nil {
		return fmt.Errorf("figure %s: write pdf: %w", f.Name, err)
	}
	return nil
}

// tryTemp returns an error unless a file can be written to the temporary folder. vgpdf,
// which panics if it cannot, writes there to embed a font: less than 1 MiB.
func tryTemp() error {
	f, err := os.CreateTemp("", "hangbench-*")
	if err == nil {
		_, err = f.Write(make([]byte, 1<<20))
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("the temporary folder %s cannot be used: %w: set TMPDIR to another one", os.TempDir(), err)
	}
	return nil
}
