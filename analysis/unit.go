package analysis

import (
	"math"
	"strconv"
)

// Unit is the unit of a metric, as it stands behind a number.
type Unit string

// The units of metrics. A metric of a unit of its own names it.
const (
	Milliseconds   Unit = "ms" // of dom0's clock
	Trials         Unit = "trials"
	Ratio          Unit = "ratio"
	PerTrial       Unit = "per trial"
	ViolationsEach Unit = "violations/trial"
)

// MS returns nanoseconds in milliseconds.
func MS(ns int64) float64 { return float64(ns) / 1e6 }

// Seconds returns nanoseconds in seconds.
func Seconds(ns int64) float64 { return float64(ns) / 1e9 }

// Number is the shortest text that reads back as x. Files that programs read have their
// numbers in this form.
func Number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// Significant is x with three significant digits, for people: a large number has all its
// digits and no exponent.
func Significant(x float64) string {
	if math.Abs(x) >= 999.5 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// Count is a number of things, as in "1 trial" and "2 trials".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
