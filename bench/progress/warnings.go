package progress

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// Warnings is a slog.Handler that keeps the texts of warnings and errors, as a
// Display shows them: a run's manifest has those from before its first trial. It may
// be used by several goroutines. Its zero value is ready for use.
type Warnings struct {
	mu    sync.Mutex
	texts []string
}

// Texts returns what was kept so far, in order.
func (w *Warnings) Texts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}

// Enabled implements slog.Handler.
func (w *Warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (w *Warnings) Handle(ctx context.Context, r slog.Record) error {
	return warningsOf{w, nil}.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (w *Warnings) WithAttrs(attrs []slog.Attr) slog.Handler { return warningsOf{w, attrs} }

// WithGroup implements slog.Handler.
func (w *Warnings) WithGroup(string) slog.Handler { return w }

// warningsOf are the Warnings of a logger with attributes.
type warningsOf struct {
	*Warnings
	attrs []slog.Attr
}

func (w warningsOf) Handle(_ context.Context, r slog.Record) error {
	st := read(r, w.attrs)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, st.text())
	return nil
}

func (w warningsOf) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warningsOf{w.Warnings, append(slices.Clip(w.attrs), attrs...)}
}

func (w warningsOf) WithGroup(string) slog.Handler { return w }
