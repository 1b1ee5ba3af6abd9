package bochs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// writerFunc makes an io.Writer of a function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestSaveTwice: of two processes that save the same snapshot, the slower one returns
// the faster one's. A snapshot of something else is an error, and stays as it is.
func TestSaveTwice(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		key string // of the faster one
		ok  bool
	}{{"disc 1", true}, {"disc 2", false}} {
		l := fakePrefix(t)
		l.Dir = t.TempDir()
		dir := filepath.Join(t.TempDir(), "snap")
		fast := l
		fast.Dir = filepath.Join(t.TempDir(), "fast")
		var once sync.Once
		var first *Snapshot
		var firstErr error
		r := SaveRequest{Dir: dir, After: "@ready ", Key: "disc 1"}
		r.Output = writerFunc(func(p []byte) (int, error) {
			once.Do(func() {
				first, firstErr = Save(t.Context(), fast, SaveRequest{Dir: dir, After: "@ready ", Key: tc.key})
			})
			return len(p), nil
		})
		s, err := Save(t.Context(), l, r)
		if firstErr != nil || first == nil {
			t.Fatalf("the faster one: %v; the other: %v", firstErr, err)
		}
		if tc.ok && (err != nil || s.Dir != first.Dir) || !tc.ok && !errors.Is(err, fs.ErrExist) {
			t.Errorf("behind one of %q: %v, %v", tc.key, s, err)
		}
		if _, err := OpenSnapshot(t.Context(), dir, l.Machine, tc.key); err != nil {
			t.Errorf("the faster one's: %v", err)
		}
		if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
			t.Errorf("beside the snapshot: %v, %v", left, err)
		}
	}
}
