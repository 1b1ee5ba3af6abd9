package beat

import "time"

// HushTime is how long nothing runs after the request Hush.
const HushTime = time.Minute
