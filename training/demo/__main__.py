from training.demo.run import main

main()
