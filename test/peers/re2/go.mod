module orlop.dev/peers/re2

go 1.26.0
