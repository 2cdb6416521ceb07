WHOSE = "the user's json"
