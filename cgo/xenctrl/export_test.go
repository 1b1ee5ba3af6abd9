package xenctrl

// For the tests in package xenctrl_test, which use package xentest.
const (
	AnswerRounds = answerRounds
	DisableTries = disableTries
	MaxPauses    = maxPauses
)
