VALUE = "the user's launcher"
