// Package progress shows on standard error what hangbench does, and keeps it in
// a log file. Both are slog handlers: everything that reports steps takes a
// *slog.Logger and needs nothing of this package.
//
// What a record means is said by its level and by these attributes:
//
//	Error, Warn  a line of its own, with the attribute "error" at its end
//	Info         a step: the message says what is done now
//	Debug        shown with --verbose only, and kept in the log file
//
//	done_bytes, total_bytes       how many bytes a step has moved, and of how many
//	trial, scenario, mechanism    the step belongs to that trial
//	done, total                   so many of the run's trials have ended
//
// On a terminal a step replaces the one before it, and the trials of a run are a
// bar. Elsewhere each step is a line; a step of a trial is not shown, its end is.
//
//	display := progress.NewDisplay(os.Stderr, progress.Options{Terminal: true})
//	log := slog.New(display)
//	log.Info("fetch packages", "done_bytes", 10e6, "total_bytes", 253e6)
//	display.End()
package progress
