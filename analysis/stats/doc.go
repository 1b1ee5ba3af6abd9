// Package stats holds the statistics of hangbench: few, assuming little about
// the shape of a distribution, and each saying how sure it is.
//
//	median               order statistics (Summarize); over boots, Bootstrap
//	rate                 Wilson, ClopperPearson; difference: RateDifference, Fisher
//	detection time       KaplanMeier, with misses censored at the deadline
//	false alarms         Poisson, PoissonUpper; NewQoS for a detector as a whole
//	overhead             PairedRatio of what was measured in pairs
//	old against new      Bootstrap.Ratio, MannWhitney; many of them: Holm
//
// None invents precision: an interval that the sample size does not support is
// absent, a missed detection is no number and never enters a median, and what a
// reader must know besides comes as a warning with the number itself.
//
// How often intervals of 95% hold the truth, on made-up data where it is known
// (TestCoverage, TestRateCoverage, TestPoissonCoverage and TestSummarizeCoverage
// print it; the first three rows are sums over all outcomes, not simulations):
//
//	Clopper-Pearson, n = 2 to 100, at the worst rate            0.954 to 0.976
//	Wilson, n = 2 to 100, on average over the rates             0.950 to 0.957
//	Poisson, at the worst mean to 20; its one-sided bound       0.952; 0.950
//	order statistics of 6, 9, 20 exponential values             0.969, 0.961, 0.959
//	bootstrap of a median, one boot of 20 trials                0.954
//	bootstrap of a median, 12 boots of 6 trials that differ     0.970
//	bootstrap of a ratio of medians, 30 against 30 trials       0.978
//	ratio of 12 pairs                                           0.964
//	Kaplan-Meier at one time, 40 lifetimes, 30% censored        0.939
//	median of that curve                                        0.941
package stats
