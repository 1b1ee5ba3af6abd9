package progress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"hangbench/results"
)

// FileName is the name of the log file in the folder of a run.
const FileName = "hangbench.log"

// maxKept is how many bytes a File keeps in memory before it has a file: what
// comes before the first trial fits.
const maxKept = 1 << 20

// File is a log file that may be opened later than the first record comes: a
// run's folder is made when its host is ready. Until then records are kept in
// memory. It may be used by several goroutines.
type File struct {
	mu      sync.Mutex
	kept    bytes.Buffer
	dropped int // records that did not fit
	f       *os.File
}

// Write writes one record. It never fails before Open.
func (l *File) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.f != nil:
		return l.f.Write(b)
	case l.kept.Len()+len(b) > maxKept:
		l.dropped++
	default:
		l.kept.Write(b)
	}
	return len(b), nil
}

// Open appends the records so far to the file, and those to come. A file that
// does not exist is made.
func (l *File) Open(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := results.AppendFile(path)
	if err != nil {
		return fmt.Errorf("open the log file: %w", err)
	}
	if l.dropped > 0 {
		fmt.Fprintf(&l.kept, "level=WARN msg=\"records left out before the log file was open\" records=%d\n", l.dropped)
	}
	if _, err := f.Write(l.kept.Bytes()); err != nil {
		f.Close()
		return fmt.Errorf("write the log file: %w", err)
	}
	l.f, l.kept, l.dropped = f, bytes.Buffer{}, 0
	return nil
}

// Close closes the file, if Open has opened one.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// NewText returns a handler that writes every record as a line of key=value
// pairs with its time. Of the records that count bytes only the last is written:
// there is one for each piece of a file.
func NewText(w io.Writer) slog.Handler {
	return wholeBytes{slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})}
}

// wholeBytes leaves out records that have moved a part of their bytes.
type wholeBytes struct{ slog.Handler }

func (h wholeBytes) Handle(ctx context.Context, r slog.Record) error {
	if st := read(r, nil); st.doneBytes < st.totalBytes {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h wholeBytes) WithAttrs(attrs []slog.Attr) slog.Handler {
	return wholeBytes{h.Handler.WithAttrs(attrs)}
}

func (h wholeBytes) WithGroup(name string) slog.Handler { return wholeBytes{h.Handler.WithGroup(name)} }
