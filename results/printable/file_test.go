package printable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFile: what cannot be opened comes with a remedy, and stays the error that it is.
func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(path("file"), nil, 0o600), os.Symlink("circle", path("circle"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"gone":                   "gone: no such file or directory: check the path",
		"file/in":                "file/in: not a directory: a part of the path is a file, check the path",
		"circle":                 "links lead in a circle, give the path of the file itself",
		strings.Repeat("x", 300): "file name too long: check the path",
	} {
		_, err := os.Open(path(name))
		if got := File(err); !strings.HasSuffix(got.Error(), want) || !errors.Is(got, err) {
			t.Errorf("%s: %v, want %q", name, got, want)
		}
	}
	denied := &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}
	if got := File(denied); got.Error() != "open x: permission denied: let this user read it" {
		t.Error(got)
	}
	if got := File(io.EOF); got != io.EOF {
		t.Error(got)
	}
}
