package figure

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Write writes the figure into dir as <name>.png and <name>.svg, with its
// caption in <name>.txt and the values drawn in <name>.csv, and returns the
// four paths.
func (o *Overview) Write(dir, name string) ([]string, error) { return write(o, dir, name) }

// drawing is a figure with its caption and values.
type drawing interface {
	WritePNG(w io.Writer) error
	WriteSVG(w io.Writer) error
	WriteCSV(w io.Writer) error
	Caption() string
}

func write(o drawing, dir, name string) ([]string, error) {
	var paths []string
	for _, f := range []struct {
		ext   string
		write func(io.Writer) error
	}{
		{".png", o.WritePNG},
		{".svg", o.WriteSVG},
		{".txt", func(w io.Writer) error { _, err := io.WriteString(w, o.Caption()); return err }},
		{".csv", o.WriteCSV},
	} {
		var buf bytes.Buffer
		if err := f.write(&buf); err != nil {
			return nil, err
		}
		path := filepath.Join(dir, name+f.ext)
		if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
			return nil, fmt.Errorf("figure: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
