// Package export writes a run in the Go benchmark format
// (https://go.dev/design/14313-benchmark-format), by golang.org/x/perf/benchfmt,
// for benchstat and other programs that read it. A trial is one result line.
//
// The names of benchmarks hold what cells differ in, as key=value after slashes,
// so that benchstat can filter and group by them; what a run has in common is in
// the configuration lines above.
package export
