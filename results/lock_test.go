package results

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestReplaceTogether: of several writers of one file each writes the whole of it.
func TestReplaceTogether(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	path := filepath.Join(dir, "file")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				if err := ReplaceFile(path, bytes.Repeat([]byte{byte('a' + i)}, 100_000*(i+1))); err != nil {
					t.Error(err)
				}
				b, err := os.ReadFile(path)
				if err != nil {
					t.Error(err)
				} else if n := int(b[0]-'a') + 1; len(b) != 100_000*n || bytes.Count(b, b[:1]) != len(b) {
					t.Errorf("%d bytes, of which %d are %q", len(b), bytes.Count(b, b[:1]), b[0])
				}
			}
		})
	}
	wg.Wait()
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("the folder has %v (%v)", names, err)
	}
}

// TestReplaceFolder: a folder that has the name of the file stays, and the error says what
// to do.
func TestReplaceFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "report.html")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	err := ReplaceFile(path, []byte("new"))
	if err == nil || !strings.Contains(err.Error(), path+" is a folder") || !strings.Contains(err.Error(), "move") {
		t.Errorf("%v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 || !names[0].IsDir() {
		t.Errorf("the folder has %v (%v)", names, err)
	}
}

// TestNoLinks: a run of somebody else cannot name a file that this program overwrites.
func TestNoLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lockFile, "report.html.tmp"} {
		if err := os.Symlink(mine, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lockRun(dir); err == nil || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("a lock that is a link: %v", err)
	}
	err := ReplaceFile(filepath.Join(dir, "report.html"), nil)
	if err == nil || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("a temporary file that is a link: %v", err)
	}
	for _, name := range []string{SumsFile, "hangbench.log"} {
		if err := os.Symlink(mine, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := AppendFile(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), "is a link") {
			t.Errorf("%s is a link: %v", name, err)
		}
	}
	if b, err := os.ReadFile(mine); err != nil || string(b) != "mine" {
		t.Errorf("the file has %q (%v)", b, err)
	}
}

// TestLocked: a run that is being written is known before it is opened to be written.
func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Locked(dir); err != nil {
		t.Error(err)
	}
	lock, err := lockRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Locked(dir); err == nil || !strings.Contains(err.Error(), "is being written by process ") {
		t.Errorf("a run that is locked: %v", err)
	}
	if err := unlockRun(lock); err != nil {
		t.Fatal(err)
	}
	if err := Locked(dir); err != nil {
		t.Error(err)
	}
}
