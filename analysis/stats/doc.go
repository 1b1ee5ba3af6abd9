// Package stats holds the statistics of hangbench. They assume little about the shape of a
// distribution, and each comes with its confidence.
//
//	median               order statistics (Summarize); over boots, Bootstrap
//	rate                 Wilson, ClopperPearson; difference: RateDifference, Fisher
//	detection time       KaplanMeier, with misses censored at the deadline
//	false alarms         Poisson, PoissonUpper; NewQoS for a whole detector
//	overhead             PairedRatio of values measured in pairs
//	old against new      Bootstrap.Ratio, MannWhitney; many of them: Holm
//
// An interval that the sample size does not support is absent. A missed detection has no
// detection time and never enters a median. Reservations are returned as warnings together
// with the number.
//
// The table shows how often intervals of 95% contain the true value, on made-up data where
// it is known. go test -v prints the numbers. The first three rows are sums over all
// outcomes, the others simulations of 4000 or 20000 samples.
//
//	Clopper-Pearson, n = 2 to 100, at the worst rate            0.954 to 0.976
//	Wilson, n = 2 to 100, on average over the rates             0.950 to 0.957
//	Poisson, at the worst mean to 20; its one-sided bound       0.952; 0.950
//	order statistics of 6, 9, 20 exponential values             0.969, 0.961, 0.959
//	bootstrap of a median, one boot of 20 trials                0.957
//	bootstrap of a median, 12 boots of 6 trials that differ     0.971
//	bootstrap of a ratio of medians, 30 against 30 trials       0.976
//	ratio of 12 pairs                                           0.965
//	Kaplan-Meier at one time, 40 lifetimes, 30% censored        0.939
//	median of that curve                                        0.940
//	false alarms of a detector, five expected                   0.977
package stats
