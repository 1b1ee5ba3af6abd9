// Package stats holds the statistics of hangbench: few, assuming nothing about
// the shape of a distribution, and each saying how sure it is.
//
// Latencies and counts are summarised by the median with an exact
// order-statistic interval, rates by Wilson's interval. Neither invents
// precision: an interval that the sample size does not support is absent, and
// a missed detection is no number at all and never enters a median.
package stats
