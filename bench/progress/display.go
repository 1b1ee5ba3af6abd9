package progress

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/schollz/progressbar/v3"

	"hangbench/results/printable"
)

// Names of the attributes that a Display understands. A package that may not
// import this one writes them as literals.
const (
	DoneBytes  = "done_bytes"  // integer
	TotalBytes = "total_bytes" // integer
	Trial      = "trial"       // integer, from 0
	Scenario   = "scenario"    // string
	Mechanism  = "mechanism"   // string
	Done       = "done"        // integer: trials that have ended
	Total      = "total"       // integer: trials of the run
	Error      = "error"       // error or string
)

// Options say how a Display shows records.
type Options struct {
	Terminal bool // the writer is a terminal: steps replace each other
	// Width returns the number of columns of the terminal, 0 if it is not known. Steps are
	// cut to it. Nil: not known.
	Width   func() int
	Verbose bool // every record is a line, with all its attributes
}

// Display is a slog.Handler that shows records to a person. It may be used by
// several goroutines. Groups of attributes are ignored: their attributes count
// as if they stood alone.
type Display struct {
	screen *screen
	attrs  []slog.Attr
}

// screen is what a Display shares with those made of it by WithAttrs.
type screen struct {
	Options
	mu   sync.Mutex
	w    io.Writer
	bar  *progressbar.ProgressBar
	last string // the last step shown
}

// NewDisplay returns a Display that writes to w.
func NewDisplay(w io.Writer, o Options) *Display {
	return &Display{screen: &screen{Options: o, w: w}}
}

// Enabled implements slog.Handler.
func (d *Display) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || d.screen.Verbose
}

// WithAttrs implements slog.Handler.
func (d *Display) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Display{screen: d.screen, attrs: append(slices.Clip(d.attrs), attrs...)}
}

// WithGroup implements slog.Handler.
func (d *Display) WithGroup(string) slog.Handler { return d }

// Handle implements slog.Handler. It returns the writer's error.
func (d *Display) Handle(_ context.Context, r slog.Record) error {
	s := read(r, d.attrs)
	d.screen.mu.Lock()
	defer d.screen.mu.Unlock()
	switch {
	case r.Level >= slog.LevelError:
		return d.screen.line("hangbench: " + s.text())
	case r.Level >= slog.LevelWarn:
		return d.screen.line("hangbench: warning: " + s.text())
	case d.screen.Verbose:
		return d.screen.line(s.verbose())
	}
	return d.screen.step(s)
}

// End removes the line or the bar that is shown. Records may follow.
func (d *Display) End() {
	d.screen.mu.Lock()
	defer d.screen.mu.Unlock()
	d.screen.wipe()
	d.screen.bar, d.screen.last = nil, ""
}

// wipe empties the line of a terminal, if a step is shown there.
func (s *screen) wipe() {
	if s.bar == nil && s.last == "" {
		return
	}
	if s.bar != nil {
		s.bar.Clear()
	}
	if s.Terminal && !s.Verbose {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

// line prints a line that stays.
func (s *screen) line(text string) error {
	s.wipe()
	_, err := fmt.Fprintln(s.w, text)
	return err
}

// leastBar is the number of columns that a bar needs. On a narrower terminal a step is a
// line of text. From wideBar on the bar itself is longer.
const (
	leastBar = 60
	wideBar  = 100
)

// columns is the number of columns that a step may take.
func (s *screen) columns() int {
	if s.Width != nil {
		if n := s.Width(); n > 0 {
			return n - 1 // some terminals wrap when the last one is written
		}
	}
	return math.MaxInt
}

// cut cuts a text to a number of columns.
func cut(text string, columns int) string {
	letters := []rune(text)
	if len(letters) <= columns {
		return text
	}
	return string(letters[:max(columns-1, 0)]) + "…"
}

// step shows what is done now.
func (s *screen) step(st step) error {
	columns := s.columns()
	bar := 20
	if columns < wideBar {
		bar = 8
	}
	narrow := s.Terminal && columns < leastBar
	if st.counted && s.Terminal && !narrow {
		if s.bar == nil {
			s.wipe()
			s.bar = progressbar.NewOptions64(st.total,
				progressbar.OptionSetWriter(s.w),
				progressbar.OptionSetWidth(bar),
				progressbar.OptionShowCount(),
				progressbar.OptionSetPredictTime(true),
				progressbar.OptionClearOnFinish(),
			)
		}
		return s.bar.Set64(st.done)
	}
	switch {
	case st.ofTrial && s.bar != nil:
		// The rest of the line is the bar, the count and the times.
		s.bar.Describe(cut(fmt.Sprintf("%s %s: %s", st.scenario, st.mechanism, st.message), columns-40-bar))
		return nil
	case st.ofTrial != st.counted && !narrow:
		return nil // a step of one of many trials, or the count before the first
	}
	text := st.text()
	switch {
	case st.totalBytes <= 0:
	case s.Terminal:
		text += fmt.Sprintf(": %d of %d MB", st.doneBytes/1e6, st.totalBytes/1e6)
	default: // a line for each quarter
		text += fmt.Sprintf(": %d%% of %d MB", 100*st.doneBytes/st.totalBytes/25*25, st.totalBytes/1e6)
	}
	if text == s.last {
		return nil
	}
	s.last = text
	if s.Terminal {
		_, err := fmt.Fprintf(s.w, "\r\x1b[K%s", cut(text, columns))
		return err
	}
	_, err := fmt.Fprintln(s.w, text)
	return err
}

// step is a record that has been read.
type step struct {
	message               string
	doneBytes, totalBytes int64
	ofTrial, counted      bool
	trial, done, total    int64
	scenario, mechanism   string
	cause                 string
	all                   []slog.Attr
}

// read reads a record and the attributes of its logger. Their texts may come from a guest
// or from a file, so it makes lines of them.
func read(r slog.Record, attrs []slog.Attr) step {
	st := step{message: printable.Line(r.Message)}
	add := func(a slog.Attr) bool {
		v := a.Value.Resolve()
		switch a.Key {
		case DoneBytes:
			st.doneBytes = number(v)
		case TotalBytes:
			st.totalBytes = number(v)
		case Trial:
			st.trial, st.ofTrial = number(v), true
		case Scenario:
			st.scenario = printable.Line(v.String())
		case Mechanism:
			st.mechanism = printable.Line(v.String())
		case Done:
			st.done, st.counted = number(v), true
		case Total:
			st.total = number(v)
		case Error:
			st.cause = printable.Line(v.String())
		}
		st.all = append(st.all, a)
		return true
	}
	for _, a := range attrs {
		add(a)
	}
	r.Attrs(add)
	st.counted = st.counted && st.total > 0
	return st
}

// number is the value of an attribute that counts; 0 if it does not.
func number(v slog.Value) int64 {
	switch v.Kind() {
	case slog.KindInt64:
		return v.Int64()
	case slog.KindUint64:
		return int64(v.Uint64())
	case slog.KindFloat64:
		return int64(v.Float64())
	}
	return 0
}

// text is the record for a person.
func (st *step) text() string {
	text := st.message
	if st.ofTrial {
		text = fmt.Sprintf("trial %d (%s, %s): %s", st.trial, st.scenario, st.mechanism, text)
	}
	if st.counted {
		text = fmt.Sprintf("[%*d/%d] %s", len(fmt.Sprint(st.total)), st.done, st.total, text)
	}
	if st.cause != "" {
		text += ": " + st.cause
	}
	return text
}

// verbose is the record with all its attributes.
func (st *step) verbose() string {
	var b strings.Builder
	b.WriteString(st.message)
	for _, a := range st.all {
		fmt.Fprintf(&b, " %s=%s", a.Key, quoted(a.Value.Resolve().String()))
	}
	return b.String()
}

// quoted quotes a value that would not read as one word.
func quoted(v string) string {
	if v == "" || strings.ContainsAny(v, ` "=`) || printable.Line(v) != v {
		return fmt.Sprintf("%q", v)
	}
	return v
}
