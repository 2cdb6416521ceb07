WHOSE = "the user's six"
