package bench

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// columns is the longest line of code and documents, in characters; a tab is one.
const columns = 120

// pageLines is the length of README and of each page of results, in lines.
const pageLines = 150

// TestLines: no line of code or of a document is longer than columns. Exempt are tables
// and pictures of documents, what a report generated, test data and results. README and
// the pages of results are no longer than pageLines.
func TestLines(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "testdata", "runs", "reference"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		document := strings.HasSuffix(path, ".md")
		code := slices.Contains([]string{".go", ".c", ".h", ".yaml", ".yml"}, filepath.Ext(path)) || d.Name() == "Makefile" ||
			filepath.Base(filepath.Dir(path)) == ".ci"
		if !document && !code {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files++
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		generated := false // between the marks of TestReadme
		n := 0
		for s.Scan() {
			n++
			line := s.Text()
			generated = document && (generated || strings.HasPrefix(line, "<!-- report ")) && line != "<!-- report: end -->"
			table := generated || document && (strings.HasPrefix(line, "|") || strings.HasPrefix(line, "!["))
			if length := utf8.RuneCountInString(line); length > columns && !table {
				t.Errorf("%s:%d has %d characters, more than %d", path, n, length, columns)
			}
		}
		page := path == filepath.Join("..", "README.md") || filepath.Dir(path) == filepath.Join("..", "results", "reports")
		if page && n > pageLines {
			t.Errorf("%s has %d lines, more than %d: put what a newcomer need not know elsewhere", path, n, pageLines)
		}
		return s.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 500 {
		t.Errorf("only %d files were read", files)
	}
}
